"""A secret in a file that a variable names: what Docker and Kubernetes mount.

Whoever may read a process's environment (`/proc`, `docker inspect`, a crash report) reads the
secrets in it; a file is read once, by the process itself.
"""

from pathlib import Path
from typing import Final

from sekring.errors import SettingsError

__all__ = ["SUFFIX", "read_secret"]

#: `SEKRING_TOKEN_FILE` names the file that holds what `SEKRING_TOKEN` would: the custom of the
#: official images on Docker Hub.
SUFFIX: Final = "_FILE"


def read_secret(variable: str, path: str) -> str:
    """Return what the file holds, without the white space around it.

    Raises:
        SettingsError: it cannot be read, or holds nothing; names the variable and the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise SettingsError(
            f"{variable}: {path}: {why}. Name a file that this user may read."
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {path} is not text.") from None
    if not text:
        raise SettingsError(f"{variable}: {path} is empty; it takes the secret on one line.")
    return text
