"""Send repositories to the Hugging Face hub, and say what it has when something fails.

The token comes from the environment or the hub's own login. It is handed to the client and to
nothing else, and taken out of whatever the hub or the client say.
"""

from collections.abc import Sequence
from typing import Any

from notus.errors import StageError, UsageError, explain
from notus.stages.publish import Repository


def upload(repositories: Sequence[Repository], *, private: bool) -> list[dict[str, str]]:
    """Create repositories where they are missing, and commit their files, one commit each.

    Files that the hub has already are not sent again, and a repository that has all of them gets no
    commit; so what failed half-way is simply done again.

    Args:
        repositories: In the order in which they are sent.
        private: Those that are created can be seen by their owners alone.

    Returns:
        For each repository its address and commit.

    Raises:
        UsageError: There is no token, or the hub is switched off.
        StageError: The hub would not take one; the message says which ones it has.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.constants import HF_HUB_OFFLINE

    token = get_token()
    if HF_HUB_OFFLINE or token is None:
        raise _closed("HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else "no token for the hub")
    api = HfApi(token=token)
    sent: list[dict[str, str]] = []
    for repository in repositories:
        try:
            sent.append(_send(api, repository, private=private))
        except Exception as error:  # The client's classes are many; all end in this message.
            # Not chained: what the client raised may say more than is said here.
            raise _failed(error, token, repository, sent) from None
    return sent


def _send(api: Any, repository: Repository, *, private: bool) -> dict[str, str]:
    from huggingface_hub import CommitOperationAdd

    api.create_repo(repository.id, repo_type=repository.kind, private=private, exist_ok=True)
    operations = [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
        for path, content in sorted(repository.files.items())
    ]
    commit = api.create_commit(
        repository.id,
        operations,
        repo_type=repository.kind,
        commit_message="Publish with notus",
    )
    place = "datasets/" if repository.kind == "dataset" else ""
    address = f"{api.endpoint}/{place}{repository.id}"
    return {"repository": repository.id, "address": address, "commit": commit.oid}


def _failed(
    error: Exception, token: str, repository: Repository, sent: Sequence[dict[str, str]]
) -> StageError:
    said = " ".join(str(error).split()) or type(error).__name__
    has = ", ".join(one["repository"] for one in sent) or "nothing"
    return StageError(
        explain(
            found=f"{repository.id} was not taken: {said.replace(token, '***')}",
            expected=f"a hub that takes it; uploaded by now: {has}",
            where=f"{repository.kind} {repository.id}, {len(repository.files)} files",
            remedy="look to the token's rights and the network, and run the command again: what "
            "is there is not sent twice",
        )
    )


def _closed(found: str) -> UsageError:
    return UsageError(
        explain(
            found=found,
            expected="a hub that can be reached, and a token that may write",
            where="--push",
            remedy="unset HF_HUB_OFFLINE; log in with `hf auth login`, or set HF_TOKEN",
        )
    )
