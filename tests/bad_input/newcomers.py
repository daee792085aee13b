"""What somebody tries who knows other programs, and what the one line has to show in its place."""

from __future__ import annotations

from .case import Case
from .file_cases import FILES
from .flag_cases import FLAGS
from .source_cases import SOURCES

_EDIT = "edit damaged/cut out --concepts kitten --weights"
_FORMATION = "formation out --encoders models/good models/nan"


def _class(what: str, arguments: str, *words: str) -> Case:
    return Case("A file and its class", what, arguments, words)


def _list(arguments: str, written: str) -> Case:
    flag, *values = arguments.split(" ")
    return Case("Lists", f"`{' '.join(values)}`", arguments, (flag[2:], f"{flag} {written}"))


def _known(what: str, arguments: str, *words: str) -> Case:
    return Case("Flags of other programs", what, arguments, words)


def _first(what: str, arguments: str, *words: str) -> Case:
    return Case("The first argument", what, arguments, words)


def _other(what: str, arguments: str, *words: str) -> Case:
    return Case("Flags of other commands", what, arguments, words)


NEWCOMERS = (
    _class(
        "JSONL", "--data good.jsonl", "--data JsonlPrompts --data.path good.jsonl", "LamaPrompts"
    ),
    _class("CSV", "--data good.csv", "--data CsvPrompts --data.path good.csv"),
    _class("one that isn't there", "--data none.jsonl", "JsonlPrompts --data.path none.jsonl"),
    _class("a folder", "--data texts", "--data LamaPrompts --data.path texts"),
    _class("in a config", "--config data_file.yaml", "data_file.yaml", "--data.path good.jsonl"),
    _class("text", "train.py --data texts/notes.txt", "TextLines --data.path texts/notes.txt"),
    _class("a formation's", f"{_FORMATION} --data good.jsonl", "JsonlPrompts --data.path"),
    _class("no class", "--data.path good.jsonl", "--data JsonlPrompts --data.path good.jsonl"),
    _class(
        "the class behind it",
        "--data.path good.jsonl --data JsonlPrompts",
        "data.path good.jsonl",
        "--data JsonlPrompts before it",
    ),
    _class("no class, in a config", "--config data_path.yaml", "data_path.yaml", "JsonlPrompts"),
    _class("no class, for training", "train.py --data.path a.txt", "TextLines --data.path a.txt"),
    _class("no class, a formation's", f"{_FORMATION} --data.path good.csv", "--data CsvPrompts"),
    _class("a flag of another class", "--data.min_patterns 2", "PararelPrompts", "min_patterns 2"),
    _class("without its flag", "--data JsonlPrompts good.jsonl", "--data.path good.jsonl"),
    _class("its short name", "--data jsonl", "data jsonl", "did you mean JsonlPrompts?"),
    _list("--edit.factors 0 2", "[0,2]"),
    _list("--edit.factors 0", "[0]"),
    _list("--edit.factors 0,2", "[0,2]"),
    _list("--edit.factors [0, 2]", "[0,2]"),
    _list("--data.concepts kitten", "[kitten]"),
    _list("--data.concepts kitten puppy", "[kitten,puppy]"),
    _list("--refine.size 2 5", "[2,5]"),
    _list("--data.concepts [1]", """'["1"]'"""),
    _list("--data.concepts 1 yes", """'["1", "yes"]'"""),
    _list("--edit.factors [half]", "[0,0.5]"),
    _list("--edit.top five", "[1,2]"),
    _list("--model.compare gradient", "[gradient]"),
    Case("Lists", "in a config", "--config no_list.yaml", ("no_list.yaml", "edit.factors", "[0]")),
    Case("Lists", "brackets for several", f"{_FORMATION} --steps [1,2]", ("--steps 1 2",)),
    _known("a model for its section", "--model bert-base-uncased", "--model.encoder bert-base-un"),
    _known("a number for a section", "--refine 0.2", "--refine.threshold 0.2"),
    _known("a folder for a section", "train.py --export out", "--export.folder out"),
    _known("W&B for a section", "--track wandb", "--trainer.logger WandbLogger"),
    _known("W&B for a flag", "--wandb", "--trainer.logger WandbLogger"),
    _known("W&B for its class", "--trainer.logger wandb", "WandbLogger"),
    _known("W&B for a flag of a formation", f"{_FORMATION} --wandb", "--trainer.logger WandbL"),
    _known("W&B for its class, there", f"{_FORMATION} --trainer.logger wandb", "WandbLogger"),
    _known("a trainer's flag, there", f"{_FORMATION} --trainer.devices 2", "trainer.devices"),
    _known("a config that isn't there", f"{_FORMATION} --config none.yaml", "none.yaml"),
    _known("a model's name", "--model.name a", "--model.encoder a"),
    _known("GPUs", "--trainer.gpus 1", "--trainer.devices 1"),
    _known("a learning rate", "train.py --model.lr 0.1", "--model.learning_rate 0.1"),
    _known("an output folder", "--output_dir x", "--run_dir x"),
    _known("a section of old", "--attribution.nodes ten", "--model.nodes ten"),
    _known("nothing like it", "--data LamaPrompts --data.relation IsA", "data.relation", "--help"),
    _known("a precision", "--trainer.precision fp16", "fp16", "16-mixed"),
    _known("a percentage", "--refine.share 70%", "70%", "0.7"),
    _known("a decimal comma", "--refine.share 0,25", "0,25", "0.25"),
    _known("no value", "--refine.threshold=", "refine.threshold ''", "0.5"),
    _known("a switch", "--overwrite", "--overwrite true"),
    _known("one hyphen", "-config text.yaml", "--config FILE", "two hyphens"),
    _known("a tab in a config", "--config tab.yaml", "tab.yaml, line 2"),
    _known("a flag cut short", "--conf none.yaml", "config none.yaml"),
    _known("a beginning of a flag", "--edit.factor [0]", "--edit.factors"),
    _known("a dry run", "--trainer.fast_dev_run true", "trainer.fast_dev_run", "data.max_groups"),
    _known("no batches", "--trainer.limit_predict_batches 0", "limit_predict_batches 0", "from 1"),
    _known("a share of the batches", "--trainer.limit_predict_batches 0.5", "0.5", "from 1"),
    _first("help", "help", "--help"),
    _first("a misspelt command", "reprot other_run", "did you mean report?", "neurons"),
    _first("a run", "other_run", "python analyze.py report other_run", "--run_dir other_run"),
    _first("a file", "good.jsonl", "--data JsonlPrompts --data.path good.jsonl"),
    _first("a model", "bert-base-uncased", "bert-base-uncased", "--help"),
    _first("a long dash", "—data good.jsonl", "write --data"),
    _first("a command of training", "train.py fit", "fit", "python train.py"),
    _other("a report in Japanese", "report other_run --language ja", "--report.language ja"),
    _other("the same, cut short", "report other_run --lang ja", "--report.language ja"),
    _other("two runs", "report other_run texts", "texts", "report RUN_DIR"),
    _other("no run", "report", "run_dir", "report RUN_DIR"),
    _other("no file", "neurons other_run", "file", "neurons RUN_DIR FILE"),
    _other("unknown, of `neurons`", "neurons other_run n.json --top 5", "top", "--help"),
    _other("unknown, of `edit`", f"{_EDIT} update --lamda_1 1", "--lambda_1 1"),
    _other("not a number", f"{_EDIT} update --lambda_1 nan", "lambda_1 'nan'", "a number"),
    _other("text for a number", f"{_EDIT} update --lambda_1 one", "lambda_1 'one'", "a number"),
    _other("without its value", f"{_EDIT} update --lambda_1", "--lambda_1 VALUE"),
    _other("one of two", f"{_EDIT} update --lambda 1", "--lambda_1", "--lambda_2"),
    _other("no weight edit", "edit other_run out --concepts a", "--weights VALUE"),
    _other("no folder", f"edit other_run {_EDIT[21:]} erase_zero", "edit RUN_DIR FOLDER"),
    _other("text for a step", f"{_FORMATION} --steps one two", "steps 'one'", "whole number"),
    _other("unknown, of `formation`", f"{_FORMATION} --formation.treshold 2", "threshold 2"),
    _other("of a study", f"{_FORMATION} --model.encoder a", "--encoders a"),
    _other("nothing for `formation`", "formation", "FOLDER --encoders VALUE VALUE"),
    _other("without its flag", "formation out models/good models/nan", "--encoders VALUE VALUE"),
    _other("text for a number", "synonyms none --senses two", "senses 'two'", "whole number"),
    _other("unknown, of `synonyms`", "synonyms none --piars a", "--pairs a"),
    _other("one run", "symmetry none", "run_b", "symmetry RUN_A RUN_B"),
    _other("unknown, of `symmetry`", "symmetry none texts --outptu a.csv", "--output a.csv"),
)
EVERY = (*SOURCES, *FLAGS, *FILES, *NEWCOMERS)
"""All cases, in the order of the page."""
