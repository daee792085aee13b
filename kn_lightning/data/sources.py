"""Where a study's prompts come from: the classes that ``--data`` takes, one for each source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kn_lightning.data.addresses import public_url
from kn_lightning.data.archives import data_files, fetch_zip, fingerprint
from kn_lightning.data.csv_prompts import read_csv
from kn_lightning.data.facts import embedded_groups, held_out_prompts
from kn_lightning.data.jsonl import json_objects, read_jsonl
from kn_lightning.data.lama import FILES, LAMA_URL, Masked, Part, read_lama
from kn_lightning.data.modules import PromptGroups
from kn_lightning.data.pararel import pararel_files, read_pararel
from kn_lightning.errors import InputError
from kn_lightning.files import checked_path
from kn_lightning.ranks import on_all_ranks
from kn_lightning.schema import EncodedPrompt, PromptGroup, Skipped


class EmbeddedPrompts(PromptGroups):
    """The testbed's facts; the embedded encoder was trained on three wordings of four."""

    def read(self) -> list[PromptGroup]:
        """The testbed's groups."""
        return embedded_groups()

    def is_validation(self, prompt: EncodedPrompt, number: int) -> bool:
        """Whether the wording is one of those that are never trained on."""
        return prompt.text in held_out_prompts()


class JsonlPrompts(PromptGroups):
    """Prompt groups of a JSONL file.

    Args:
        path: the file; a line is ``{"concept": "kitten", "prompts": ["[MASK] will grow up to be a
            cat."]}`` with ``relation`` and ``pos`` where known.
        kwargs: as for every source.
    """

    def __init__(self, path: str | Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = checked_path("data.path", path)

    def read(self) -> Iterable[PromptGroup]:
        """The file's groups."""
        return read_jsonl(self.path)

    def origin(self) -> dict[str, Any]:
        """The file's name, size and hash."""
        return fingerprint([self.path])


class CsvPrompts(PromptGroups):
    """Prompts of a CSV or TSV file, one a row.

    Args:
        path: the file; its first row names the columns: concept and prompt, and relation, pos and
            negated (the same prompt saying the opposite) where known.
        kwargs: as for every source.
    """

    def __init__(self, path: str | Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = checked_path("data.path", path)

    def read(self) -> Iterable[PromptGroup]:
        """The file's groups."""
        return read_csv(self.path)

    def origin(self) -> dict[str, Any]:
        """The file's name, size and hash."""
        return fingerprint([self.path])


class LamaPrompts(PromptGroups):
    """Sentences of LAMA (Petroni et al. 2019), as Ariyama et al. (2022) make prompts of them.

    Args:
        path: LAMA's folder, its zip, or one of its .jsonl files. Without it the archive is
            downloaded once, and kept.
        url: where the archive is; give a mirror's address where the public one can't be reached.
        part: which of LAMA's four data sets.
        mask: ``subject`` fills in the object and asks for the subject (the paper); ``object`` asks
            for the object, as LAMA does.
        max_words: words of a prompt, the mask being one; null for any number.
        min_prompts: different prompts that a concept needs.
        kwargs: as for every source.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        url: str = LAMA_URL,
        part: Part = "ConceptNet",
        mask: Masked = "subject",
        max_words: int | None = 10,
        min_prompts: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_words is not None and max_words < 1:
            raise InputError(f"data.max_words {max_words}: give at least 1, or null")
        if min_prompts < 1:
            raise InputError(f"data.min_prompts {min_prompts}: give at least 1")
        if part == "Squad" and mask == "subject":
            raise InputError("data.mask subject: Squad's sentences have none; use object")
        self.path = None if path is None else checked_path("data.path", path)
        self.url = url
        self.part = part
        self.mask = mask
        self.max_words = max_words
        self.min_prompts = min_prompts
        self._failed: InputError | None = None

    def prepare_data(self) -> None:
        """Once a node: download the archive where it is needed and not there."""
        try:
            self._place()
        except InputError as error:
            self._failed = error
            return
        super().prepare_data()

    def setup(self, stage: str) -> None:
        """Read and encode; a download that has failed is told to all ranks, and not tried again."""
        on_all_ranks(self._check_download)
        super().setup(stage)

    def _check_download(self) -> None:
        if self._failed is not None:
            raise self._failed

    def read(self) -> Iterator[PromptGroup | Skipped]:
        """The concepts of LAMA's part, and the sentences that make no prompt."""
        return read_lama(self._records(), self.mask, self.max_words, self.min_prompts)

    def origin(self) -> dict[str, Any]:
        """Address without its secrets, and name, size and hash of the archive or the files."""
        path = self._place()
        if self.path is None:
            # The file's name in the cache is made of the whole address.
            url = public_url(self.url)
            return {"url": url, **fingerprint([path]), "files": [url.rpartition("/")[2]]}
        if path.is_file():
            return fingerprint([path])
        with data_files(path, self.part, FILES[self.part]) as files:
            return fingerprint([Path(str(file)) for file in files])

    def _place(self) -> Path:
        return fetch_zip(self.url) if self.path is None else self.path

    def _records(self) -> Iterator[tuple[dict[str, Any], str]]:
        with data_files(self._place(), self.part, FILES[self.part]) as files:
            for file in files:
                with file.open("rb") as lines:
                    yield from json_objects(lines, file)


class PararelPrompts(PromptGroups):
    """Facts of T-REx in all the wordings of ParaRel (Elazar et al. 2021).

    Facts with the same answer are one concept's prompts.

    Args:
        path: ParaRel's repository, or its ``data`` folder.
        mask: ``object`` asks for a fact's object (Dai et al. 2021), ``subject`` for its subject.
        min_patterns: wordings that a relation needs (Dai et al.: more than 3).
        kwargs: as for every source.
    """

    def __init__(
        self, path: str | Path, mask: Masked = "object", min_patterns: int = 4, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if min_patterns < 1:
            raise InputError(f"data.min_patterns {min_patterns}: give at least 1")
        self.path = checked_path("data.path", path)
        self.mask = mask
        self.min_patterns = min_patterns

    def read(self) -> Iterator[PromptGroup | Skipped]:
        """A group for each fact."""
        return read_pararel(self.path, self.mask, self.min_patterns)

    def origin(self) -> dict[str, Any]:
        """Names, size and hash of the files."""
        patterns, facts = pararel_files(self.path)
        return fingerprint([*patterns, *facts])
