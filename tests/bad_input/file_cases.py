"""What is refused of files: a run's, of other commands and of formations; and of their names."""

from __future__ import annotations

from .case import Case

_LONG = 300 * "x"


def _long(arguments: str, flag: str) -> Case:
    """A name that no file can have, in place of LONG."""
    what, given = f"`{flag}` too long", arguments.replace("LONG", _LONG)
    return Case("Names of files", what, given, (flag, "300 letters", "give another name"))


def _zero(file: str, place: str, script: str = "") -> Case:
    """A name that has a zero byte, in a config: no argument can have one."""
    words = (place, r"a\x00b", "null byte", "give another name")
    return Case("Names of files", f"`{place}` with a zero byte", f"{script}--config {file}", words)


def _formation(what: str, folder: str, encoders: str, *words: str) -> Case:
    """Of checkpoints, on one group."""
    data = "" if "--data" in encoders else " --data JsonlPrompts --data.path good.jsonl"
    return Case("Formation", what, f"formation {folder} --encoders {encoders}{data}", words)


def _followed(what: str, flags: str, *words: str) -> Case:
    """Of a training."""
    return Case("Formation", what, f"train.py {flags}", words)


def _over(what: str, arguments: str, target: str) -> Case:
    """A result over what a run or a formation has written."""
    return Case("Files of a run", what, arguments, (target, "give another name"))


def _damaged(what: str, command: str, run: str, *words: str) -> Case:
    """A finished run, with something in it that no run wrote."""
    rest = {"neurons": " n.json", "edit": " out --concepts kitten --weights erase_zero"}
    arguments = f"{command} damaged/{run}{rest.get(command, '')}"
    return Case("Damaged runs", what, arguments, (f"damaged/{run}", *words))


FILES = (
    _over("an environment", "neurons damaged/cut damaged/cut/environment.json", "environment.json"),
    _over("a table", "neurons damaged/cut damaged/cut/prompts.parquet", "prompts.parquet"),
    _over("a figure", "neurons damaged/cut damaged/cut/figures/a.json", "figures"),
    _over(
        "a table of another run",
        "synonyms damaged/layers --output damaged/cut/neurons.parquet",
        "neurons.parquet",
    ),
    _over(
        "a formation",
        "symmetry none texts --output other_formation/formation.json",
        "formation.json",
    ),
    _over("parts", "edit damaged/cut damaged/cut/parts --concepts a --weights erase_zero", "parts"),
    Case(
        "Files of a run",
        "a run for an encoder",
        "train.py --export.folder other_run",
        ("export.folder other_run", "a run", "give a folder of its own"),
    ),
    Case(
        "Files of a run",
        "a formation for an encoder",
        "train.py --export.folder other_formation",
        ("export.folder other_formation", "a formation", "give a folder of its own"),
    ),
    Case(
        "Files of a run",
        "one folder for an encoder and a formation",
        "train.py --export.folder new --formation.every 5 --formation.folder ./new",
        ("export.folder new", "give each a folder"),
    ),
    Case("Run folders", "a file", "--run_dir good.jsonl", ("good.jsonl",)),
    Case("Run folders", "an unknown kind of address", "--run_dir s4://a/run", ("s4://a/run",)),
    Case("Run folders", "an address of no folder", "--run_dir memory://", ("memory://", "folder")),
    Case("Run folders", "half an address", "--run_dir s3:/a/run", ("s3:/a/run",)),
    Case("Other commands", "no such run", "report none", ("none", "run folder")),
    Case("Other commands", "no run", "report texts", ("texts",)),
    Case("Other commands", "no such run", "neurons none n.json", ("none",)),
    Case("Other commands", "no such run", "edit none out --concepts a --weights update", ("none",)),
    Case(
        "Other commands",
        "an unknown weight edit",
        "edit other_run out --concepts a --weights drop",
        ("drop",),
    ),
    Case("Other commands", "no such run", "synonyms none", ("none", "run folder")),
    Case("Other commands", "no senses", "synonyms none --senses 0", ("senses 0",)),
    Case("Other commands", "no such pairs", "synonyms none --pairs a.tsv", ("a.tsv", "two words")),
    Case(
        "Other commands",
        "a line that is no pair",
        "synonyms none --pairs texts/notes.txt",
        ("texts/notes.txt, line 1", "nothing of interest"),
    ),
    Case("Other commands", "a folder for a file", "synonyms none --output texts", ("texts",)),
    Case("Other commands", "no such run", "symmetry none texts", ("none", "run folder")),
    Case(
        "Other commands",
        "no text",
        "train.py --data TextLines --data.path empty.jsonl",
        ("empty.jsonl",),
    ),
    Case(
        "Other commands",
        "a pipe of text",
        "train.py --data TextLines --data.path pipe",
        ("data.path pipe: ", "write it into a file"),
    ),
    Case(
        "Other commands",
        "a pipe of pairs",
        "synonyms none --pairs pipe",
        ("pairs pipe: ", "write it into a file"),
    ),
    Case(
        "Other commands",
        "a pipe of neurons",
        "--refine.neurons pipe",
        ("refine.neurons pipe: ", "write it into a file"),
    ),
    Case(
        "Other commands",
        "neurons of a concept twice",
        "--refine.neurons neurons_twice.json",
        ("neurons_twice.json", "'kitten' is there twice"),
    ),
    Case(
        "Other commands",
        "Latin-1",
        "train.py --data TextLines --data.path latin1.csv",
        ("latin1.csv",),
    ),
    _zero("zero.yaml", "data.path"),
    _zero("zero_text.yaml", "data.path", "train.py "),
    _long("--data PararelPrompts --data.path LONG", "data.path"),
    _long("--model.encoder LONG", "model.encoder"),
    _long("--refine.neurons LONG", "refine.neurons"),
    _long("--run_dir LONG", "run_dir"),
    _long("neurons damaged/cut LONG", "neurons"),
    _long("edit damaged/cut LONG --concepts kitten --weights erase_zero", "edit"),
    _long("formation out --encoders models/good LONG", "--encoders"),
    _long("formation LONG --encoders models/good models/nan", "formation"),
    _long("train.py --export.folder LONG", "export.folder"),
    Case("Names of files", "a pipe", "neurons damaged/layers pipe", ("FILE pipe", "give a file")),
    Case(
        "Names of files",
        "an address",
        "neurons damaged/layers memory://neurons.json",
        ("FILE memory:/neurons.json", "a file or folder on this machine"),
    ),
    Case("Names of files", "a link", "neurons damaged/layers link", ("FILE link", "give a file")),
    Case("Names of files", "a folder", "neurons damaged/cut .", (". is a folder", "neurons.json")),
    _damaged("a table that was cut off", "neurons", "cut", "neurons.parquet"),
    _damaged("a table that was cut off", "edit", "cut", "neurons.parquet"),
    _damaged("a table that was cut off", "report", "cut", "neurons.parquet"),
    _damaged("a file for a folder", "report", "kind", "scores is no folder"),
    _damaged("a number for the versions", "report", "versions", "versions is 5"),
    _damaged("no version of this code", "report", "own_version", "versions.kn_lightning"),
    _damaged("a number for the digests", "report", "digests", "sha256 is 5"),
    _damaged("no encoder", "report", "no_encoder", "encoder is None"),
    _damaged("text for a number", "report", "layers", "encoder.n_layers is 'four'"),
    _damaged("nested too deep", "report", "deep", "environment.json"),
    _damaged("settings nested too deep", "edit", "deep_config", "config.yaml"),
    _damaged("settings without an encoder", "edit", "no_model", "model.encoder"),
    _formation("no such folder", "out", "models/good ./none", "./none"),
    _formation("Lightning's checkpoint", "out", "models/good last.ckpt", "last.ckpt", "pickled"),
    _formation(
        "an accelerator that isn't",
        "out",
        "models/good models/nan --trainer.accelerator abacus",
        "trainer.accelerator abacus",
        "auto",
    ),
    _formation("an empty folder", "out", "models/good models/empty", "models/empty"),
    _formation("a config of no sense", "out", "models/no_heads models/good", "models/no_heads"),
    _formation("a size that is text", "out", "models/good models/text_size", "hidden_size", "'x'"),
    _formation("a single checkpoint", "out", "models/good", "models/good", "two"),
    _formation("a checkpoint twice", "out", "models/good models/good", "models/good", "twice"),
    _formation(
        "a revision of a folder",
        "out",
        "models/good models/good@x",
        "--encoders models/good@x",
        "no revisions",
    ),
    _formation(
        "checkpoints of two sizes",
        "out",
        "models/good models/other_size",
        "models/other_size",
        "hidden_size is 32",
    ),
    _formation("a folder of something else", "other_run", "models/good models/nan", "other_run"),
    _formation(
        "another formation's folder",
        "other_formation",
        "models/good models/nan",
        "other_formation",
        "model.rule",
    ),
    _formation(
        "steps that don't ascend", "out", "models/good models/nan --steps 3 2", "--steps 3 2"
    ),
    _formation("steps for some", "out", "models/good models/nan --steps 3", "--steps", "1 for 2"),
    _formation(
        "no group that the encoder can be asked about",
        "out",
        "models/good models/nan --data JsonlPrompts --data.path unknown_answer.jsonl",
        "qwertyuiop",
    ),
    _formation(
        "`formation.threshold` 2",
        "out",
        "models/good models/nan --formation.threshold 2",
        "formation.threshold 2",
    ),
    Case(
        "Formation", "a record without its tables", "report other_formation", ("formation.parquet",)
    ),
    _formation(
        "an address of no known kind",
        "s4://b/out",
        "models/good models/nan",
        "formation s4://b/out",
    ),
    _followed(
        "an address of no known kind",
        "--formation.every 5 --formation.folder s4://b/out",
        "formation.folder s4://b/out",
    ),
    _followed("`formation.every` 0", "--formation.every 0", "formation.every 0"),
    _followed(
        "`formation.max_groups` 0",
        "--formation.every 5 --formation.max_groups 0",
        "formation.max_groups 0",
    ),
    _followed(
        "a folder in use",
        "--formation.every 5 --formation.folder other_formation",
        "formation.folder other_formation",
    ),
    _followed(
        "a file for a folder",
        "--formation.every 5 --formation.folder good.csv",
        "formation.folder good.csv",
    ),
    _followed(
        "text without prompts",
        "--formation.every 5 --data TextLines --data.path good.csv",
        "TextLines",
        "--formation.prompts",
    ),
    _followed(
        "no such file of prompts",
        "--formation.every 5 --formation.prompts none.jsonl",
        "formation.prompts none.jsonl",
    ),
    _followed(
        "prompts that can't be asked about",
        "--formation.every 5 --formation.prompts unknown_answer.jsonl",
        "formation.prompts unknown_answer.jsonl",
        "qwertyuiop",
    ),
)
