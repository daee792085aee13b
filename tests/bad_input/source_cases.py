"""Bad prompts and encoders."""

from __future__ import annotations

from .case import Case


def _jsonl(what: str, file: str, *words: str) -> Case:
    return Case("JSONL", what, f"--data JsonlPrompts --data.path {file}", (file, *words))


def _csv(what: str, file: str, *words: str) -> Case:
    return Case("CSV", what, f"--data CsvPrompts --data.path {file}", (file, *words))


def _encoder(what: str, folder: str, *words: str) -> Case:
    return Case("Encoders", what, f"--model.encoder {folder}", (folder, *words))


SOURCES = (
    _jsonl("no such file", "none.jsonl", "No such file"),
    _jsonl("a folder", "texts", "texts"),
    _jsonl("empty", "empty.jsonl"),
    _jsonl("blank lines alone", "blank.jsonl"),
    _jsonl("no JSON", "not_json.jsonl", "line 2", "column 1"),
    _jsonl("a line that was cut off", "cut.jsonl", "line 2"),
    _jsonl("no object", "list.jsonl", "line 2", "list"),
    _jsonl("nested too deep", "deep.jsonl", "line 2"),
    _jsonl("a number too long", "digits.jsonl", "line 2"),
    _jsonl("no concept", "no_concept.jsonl", "line 2", "'concept'"),
    _jsonl("an empty concept", "blank_concept.jsonl", "line 2", "'concept'"),
    _jsonl("no prompts", "no_prompts.jsonl", "line 2", "'prompts'"),
    _jsonl("an empty list of prompts", "empty_list.jsonl", "line 2", "'prompts'"),
    _jsonl("an empty prompt", "empty_prompt.jsonl", "line 2", "''"),
    _jsonl("no mask", "no_mask.jsonl", "line 2", "without a mask"),
    _jsonl("two masks", "two_masks.jsonl", "line 2", "[MASK] and [MASK]"),
    _jsonl("a huge line", "huge.jsonl", "line 2"),
    _jsonl("half an emoji", "surrogate.jsonl", "line 2"),
    _jsonl("Latin-1", "latin1.jsonl", "line 2", "not UTF-8"),
    _jsonl("UTF-16", "utf16.jsonl", "line 1", "not UTF-8"),
    _jsonl("a zero byte", "zero.jsonl", "line 2"),
    _jsonl("an unknown part of speech", "pos.jsonl", "line 2", "proper noun"),
    _jsonl("a CSV file", "good.csv", "line 1"),
    _jsonl("a binary file", "weights.bin", "weights.bin"),
    _jsonl("a pipe", "pipe", "data.path pipe: ", "write it into a file"),
    _jsonl("a device", "/dev/null", "data.path /dev/null: ", "write it into a file"),
    _jsonl("a run folder", "other_run", "other_run"),
    Case(
        "JSONL",
        "an address, with its secrets",
        "--data JsonlPrompts --data.path http://me:hunter2@host/x?token=hunter3",
        ("data.path http:/host/x: No such file",),
    ),
    _jsonl("a concept of a million letters", "long_concept.jsonl", "'aaaaaaaaaa", "one token"),
    _jsonl("answers outside of the vocabulary alone", "unknown_answer.jsonl", "qwertyuiop"),
    _jsonl("prompts longer than the encoder takes alone", "long.jsonl", "tokens, the encoder"),
    _jsonl("a huge prompt, its mask last", "long_end.jsonl", "200003 tokens, the encoder"),
    Case("JSONL", "no file given", "--data JsonlPrompts", ("data.path",)),
    _csv("no such file", "none.csv", "No such file"),
    _csv("empty", "empty.csv", "line 1"),
    _csv("the columns' names alone", "header.csv"),
    _csv("a missing column", "no_column.csv", "line 1", "prompt"),
    _csv("too many fields", "fields.csv", "line 2", "quote"),
    _csv("no mask", "no_mask.csv", "line 2"),
    _csv("two masks", "two_masks.csv", "line 2"),
    _csv("a quote that doesn't end", "quote.csv", "line"),
    _csv("a huge field", "huge.csv", "line 2"),
    _csv("Latin-1", "latin1.csv", "not UTF-8"),
    _csv("a JSONL file", "good.jsonl", "line 1"),
    _csv("a pipe", "pipe", "data.path pipe: ", "write it into a file"),
    _csv("a run folder", "other_run", "other_run"),
    Case("LAMA and ParaRel", "no such folder", "--data LamaPrompts --data.path none", ("none",)),
    Case(
        "LAMA and ParaRel",
        "a folder without its files",
        "--data LamaPrompts --data.path texts",
        ("texts", "ConceptNet/test.jsonl"),
    ),
    Case(
        "LAMA and ParaRel",
        "no zip archive",
        "--data LamaPrompts --data.path not.zip",
        ("not.zip", "unpack"),
    ),
    Case(
        "LAMA and ParaRel",
        "a zip archive that is damaged",
        "--data LamaPrompts --data.path lzma.zip",
        ("data.path lzma.zip", "Corrupt input data", "unpack"),
    ),
    Case(
        "LAMA and ParaRel",
        "a pipe",
        "--data LamaPrompts --data.path pipe",
        ("data.path pipe: ", "write it into a file"),
    ),
    Case(
        "LAMA and ParaRel",
        "a pipe for an archive",
        "--data LamaPrompts --data.path pipe.zip",
        ("data.path pipe.zip: ", "write it into a file"),
    ),
    Case(
        "LAMA and ParaRel",
        "records of another form",
        "--data LamaPrompts --data.path good.jsonl",
        ("good.jsonl, line 1", "LAMA"),
    ),
    Case(
        "LAMA and ParaRel",
        "a run folder",
        "--data LamaPrompts --data.path other_run",
        ("other_run",),
    ),
    Case(
        "LAMA and ParaRel",
        "no address",
        "--data LamaPrompts --data.url nonsense",
        ("nonsense", "http"),
    ),
    Case(
        "LAMA and ParaRel",
        "subjects of Squad",
        "--data LamaPrompts --data.part Squad",
        ("data.mask subject", "object"),
    ),
    Case(
        "LAMA and ParaRel",
        "a folder without its files",
        "--data PararelPrompts --data.path texts",
        ("texts", "pattern_data"),
    ),
    _encoder("no such folder", "./none/encoder", "no such folder"),
    _encoder("a Hub id without a network", "no-such/encoder"),
    _encoder("an empty folder", "models/empty"),
    Case(
        "Encoders",
        "an address, with its secrets",
        "--model.encoder http://me:hunter2@host/x?token=hunter3",
        ("model.encoder http://host/x:", "Hub id"),
    ),
    _encoder("a file", "good.jsonl"),
    _encoder("no tokenizer", "models/no_tokenizer", "tokenizer"),
    _encoder("no masked-LM head", "models/no_head", "random", "cls.predictions"),
    _encoder("a head for other answers", "models/classifier", "random"),
    _encoder("a causal LM", "models/gpt2", "masked LM"),
    _encoder("pickled weights", "models/pickled", "convert"),
    _encoder("code of its own", "models/remote_code", "code"),
    _encoder("half of the weights", "models/cut"),
    _encoder("no JSON for a config", "models/broken_config"),
    _encoder("a config of another size", "models/other_size"),
    _encoder("a config without attention heads", "models/no_heads", "masked LM"),
    _encoder("an unknown activation function", "models/activation", "foo"),
    _encoder("a size that is text", "models/text_size", "hidden_size", "'x'"),
    _encoder("no vocabulary", "models/no_vocabulary", "masked LM"),
    _encoder("padding outside of the vocabulary", "models/padding", "Padding_idx"),
    _encoder("a list for its type", "models/types", "list"),
    _encoder("an unknown type of numbers", "models/dtype", "foo"),
    _encoder("an empty object for a tokenizer", "models/tokenizer_object", "tokenizer.json"),
    _encoder("a list for a tokenizer", "models/tokenizer_list", "tokenizer.json"),
    _encoder("a list for a tokenizer's settings", "models/tokenizer_settings", "tokenizer"),
    _encoder("text for a tokenizer's length", "models/tokenizer_length", "tokenizer"),
    _encoder("weights in parts without their list", "models/shards", "weight_map"),
    _encoder("a weight that is not a number", "models/nan"),
    _encoder("a run folder", "other_run"),
    _encoder("a revision of a folder", "models/good@x", "no revisions", "models/good alone"),
)
