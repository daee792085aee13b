"""Bad flags, and what commands other than a study are given."""

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


def _number(flag: str, value: str, *words: str) -> Case:
    name, what = flag.removeprefix("--"), f"`{flag.removeprefix('--')}` {value}"
    return Case("Numbers", what, f"{flag} {value}", (name, *words))


def _setting(flag: str, value: str, *words: str) -> Case:
    """Of the attribution: it says no more of itself than its last part, for it has no flags."""
    section, name = flag.removeprefix("--").split(".")
    return Case(
        "Numbers", f"`{section}.{name}` {value}", f"{flag} {value}", (section, name, *words)
    )


def _training(flag: str, value: str, *words: str) -> Case:
    """A limit or number of the trainer that a training can't work with."""
    name = flag.removeprefix("--")
    what, given = f"`{name}` {value}, of a training", f"train.py {flag} {value}"
    return Case("Numbers", what, given, (f"{name} {value.removeprefix('.')}: ", *words))


def _over(what: str, arguments: str, target: str) -> Case:
    """A result over what a run or a formation has written."""
    return Case("Files of a run", what, arguments, (target, "give another name"))


def _damaged(what: str, command: str, run: str, *words: str) -> Case:
    """A finished run, with something in it that no run wrote."""
    rest = {"neurons": " n.json", "edit": " out --concepts kitten --weights erase_zero"}
    arguments = f"{command} damaged/{run}{rest.get(command, '')}"
    return Case("Damaged runs", what, arguments, (f"damaged/{run}", *words))


FLAGS = (
    Case("Flags", "unknown", "--refine.treshold 0.3", ("refine.treshold", "refine.threshold")),
    Case("Flags", "unknown, above the sections", "--rundir x", ("rundir", "run_dir")),
    Case("Flags", "unknown, of the data", "--data JsonlPrompts --data.pth x", ("pth", "data.path")),
    Case(
        "Flags",
        "unknown, of the trainer",
        "--trainer.device 1",
        ("trainer.device", "trainer.devices"),
    ),
    Case("Flags", "unknown section", "--edits.others 3", ("edits.others", "edit.others")),
    Case(
        "Flags",
        "a stage that every study has",
        "--trainer.callbacks+ kn_lightning.callbacks.write.WriteCallback",
        ("trainer.callbacks", "WriteCallback", "--write"),
    ),
    Case("Flags", "without its value", "--refine.share", ("refine.share",)),
    Case("Flags", "an argument too many", "texts", ("texts",)),
    Case("Flags", "an unknown source", "--data JsonPrompts", ("JsonPrompts", "JsonlPrompts")),
    Case("Flags", "text for training", "--data TextLines --data.path a", ("TextLines",)),
    Case("Flags", "an unknown rule", "--model.rule simpson", ("simpson", "adaptive")),
    Case("Flags", "an unknown path", "--model.path head", ("head", "layer", "neuron")),
    Case("Flags", "unknown answers", "--model.answers many", ("many", "single")),
    Case("Flags", "an unknown attribution", "--model.attribution lime", ("lime",)),
    Case("Flags", "an unknown comparison", "--model.compare [lime]", ("lime",)),
    Case("Flags", "an unknown control", "--edit.controls [placebo]", ("placebo", "foreign")),
    Case("Flags", "an unknown weight edit", "--edit.weights [drop]", ("drop", "erase_zero")),
    Case(
        "Flags",
        "unknown, with an address",
        "--data.ulr http://me:hunter2@host/x?token=hunter3",
        ("data.ulr", "--data.url http://host/x?);"),
    ),
    Case("Flags", "unknown, with a key", "--trainer.logger.api_ky hunter2", ("api_ky", "'…'")),
    Case("Flags", "help of a section", "--edit.help x", ("edit.help: unknown; --help",)),
    Case("Flags", "half of an emoji", "--data \ud83d", ("data '\\ud83d'", "UTF-8", "another")),
    Case("Flags", "an unknown concept", "--data.concepts [qwerty]", ("data.concepts", "qwerty")),
    Case("Flags", "no concept", "--data.concepts []", ("data.concepts []", "at least one")),
    Case("Flags", "a language unknown", "--report.language fr", ("fr", "en")),
    Case("Flags", "a precision unknown", "--trainer.precision 12-true", ("12-true",)),
    Case("Flags", "a strategy unknown", "--trainer.strategy foo", ("foo",)),
    *(
        Case(
            "Flags",
            f"processes of multiprocessing, `{name}`",
            f"{script}--trainer.strategy {name} --trainer.devices 2 --trainer.accelerator cpu",
            (f"trainer.strategy {name}", "use ddp"),
        )
        for script, name in (("", "ddp_spawn"), ("train.py ", "ddp_fork"))
    ),
    Case("Flags", "no gradients", "--trainer.inference_mode true", ("inference_mode", "false")),
    Case(
        "Flags",
        "more nodes than memory",
        "--model.rule gauss_legendre --model.nodes 100000000",
        ("100000000", "at most"),
    ),
    Case("Flags", "nodes with adaptive", "--model.nodes 7", ("7", "adaptive")),
    Case(
        "Flags",
        "a rule without nodes",
        "--model.rule linspace --model.nodes 0",
        ("model", "linspace", "0"),
    ),
    Case("Flags", "a factor twice", "--edit.factors [0,0]", ("edit.factors", "0")),
    Case("Flags", "no factor", "--edit.factors []", ("edit.factors",)),
    Case("Flags", "sizes of the wrong order", "--refine.size [5,2]", ("refine.size", "[5, 2]")),
    Case(
        "Flags",
        "neurons and a size",
        "--refine.size [2,5] --refine.neurons neurons.json",
        ("refine.size", "refine.neurons"),
    ),
    Case("Flags", "facts without neurons", "--refine.facts neurons.json", ("refine.neurons",)),
    Case("Flags", "neurons that aren't JSON", "--refine.neurons not.zip", ("not.zip", "JSON")),
    Case(
        "Flags",
        "neurons of another encoder",
        "--data.concepts [kitten] --refine.neurons neurons.json",
        ("refine.neurons", "[99, 1]"),
    ),
    Case(
        "Flags",
        "an unrelated prompt without a mask",
        "--data.max_groups 2 --edit.unrelated_prompts [word]",
        ("edit.unrelated_prompts", "word"),
    ),
    Case("Configs", "no such file", "--config none.yaml", ("none.yaml",)),
    Case("Configs", "no YAML", "--config broken.yaml", ("broken.yaml",)),
    Case("Configs", "settings within themselves", "--config itself.yaml", ("itself.yaml",)),
    Case("Configs", "a list within itself", "--config itself_list.yaml", ("itself_list.yaml",)),
    Case(
        "Configs",
        "anchors that make millions of values",
        "--config anchors.yaml",
        ("anchors.yaml", "5,135,882 values", "write it without"),
    ),
    Case(
        "Configs",
        "a key that YAML takes for true",
        "--config on.yaml",
        ("on.yaml: True instead of a key's name", "quotes"),
    ),
    Case(
        "Configs",
        "a number of 400 digits",
        "--config endless.yaml",
        ("refine.share 999999999…: too large a number",),
    ),
    Case("Configs", "no mapping", "--config list.yaml", ("list.yaml",)),
    Case("Configs", "an unknown key", "--config key.yaml", ("threshhold", "threshold")),
    Case("Configs", "an unknown section", "--config section.yaml", ("refin", "refine")),
    Case("Configs", "text for a number", "--config text.yaml", ("refine.share", "half")),
    Case("Configs", "Latin-1", "--config latin1.csv", ("latin1.csv",)),
    Case("Configs", "a folder", "--config texts", ("texts",)),
    _number("--refine.threshold", "2", "2"),
    _number("--refine.threshold", "nan", "nan"),
    _number("--refine.share", "0", "0"),
    _number("--refine.share", "-inf", "--refine.share=-inf"),
    Case("Numbers", "`refine.share` -inf", "--refine.share=-inf", ("refine.share", "-inf")),
    _number("--refine.size", "[-1,2]", "-1"),
    _number("--edit.holdout", "1", "1"),
    _number("--edit.holdout", "nan", "nan"),
    _number("--edit.others", "-3", "-3"),
    _number("--edit.control_seeds", "-1", "-1"),
    _number("--edit.control_seeds", "100000000000", "give 0 to 10,000"),
    _number("--edit.max_prompts", "0", "0"),
    _number("--edit.factors", "[.nan]", "nan"),
    _number("--edit.factors", "[.inf]", "inf"),
    _number("--edit.top", "[0,5]", "0", "[1, 2, 5]"),
    _number("--edit.top", "[2,2]", "2", "different"),
    _number("--edit.top", "[100000]", "100000", "half"),
    _number("--edit.lambda_1", ".nan", "nan"),
    _number("--edit.lambda_2", ".inf", "inf"),
    _setting("--model.tolerance", "-1", "-1"),
    _setting("--model.tolerance", ".nan", "nan"),
    _setting("--model.tolerance", ".inf", "inf"),
    _setting("--model.candidates", "0", "0"),
    _setting("--model.row_tokens", "0", "0"),
    _number("--model.learning_rate", ".nan", "nan"),
    _number("--model.weight_decay", "-1", "-1"),
    _number("--model.weight_decay", ".nan", "nan"),
    _number("--model.warmup_steps", "-1", "-1"),
    _number("--data.max_groups", "-1", "-1"),
    _number("--data.max_groups", "six", "six"),
    _number("--data.max_groups", "1.5", "1.5"),
    _number("--data.pack_tokens", "0", "0"),
    _number("--data.batch_size", "0", "0"),
    _number("--data.validation_share", "1", "1"),
    _number("--data.validation_share", ".nan", "nan"),
    _number("--track.interval", "-1", "-1"),
    _number("--track.interval", ".nan", "nan"),
    _number("--progress.interval", "-1", "-1"),
    _number("--trainer.devices", "0", "0"),
    _number("--trainer.devices", "-3", "-3"),
    _number("--trainer.num_nodes", "0", "0"),
    _number("--trainer.num_nodes", "2", "2", "torchrun"),
    _number("--trainer.limit_predict_batches", "-1", "-1"),
    _number("--seed_everything", "-1", "-1"),
    _number("--trainer.accumulate_grad_batches", "-2", "-2", "1 or more"),
    _number("--trainer.log_every_n_steps", "-1", "-1", "0 for none"),
    _number("--trainer.num_sanity_val_steps", "-2", "-2", "-1 for all"),
    Case(
        "Numbers",
        "more processes than a machine holds",
        "--trainer.accelerator cpu --trainer.devices 99999",
        ("trainer.devices 99999", "one a core"),
    ),
    _training("--trainer.accumulate_grad_batches", "0", "1 or more"),
    _training("--trainer.check_val_every_n_epoch", "0", "1 or more"),
    _training("--trainer.val_check_interval", "0", "limit_val_batches 0"),
    _training("--trainer.val_check_interval", "100000", "number of the training batches"),
    _training("--trainer.gradient_clip_val", ".nan", "null for no clipping"),
    _training("--trainer.gradient_clip_val", "-1", "null for no clipping"),
    _training("--trainer.min_steps", "-1", "leave it out"),
    _training("--trainer.min_epochs", "-1", "leave it out"),
    _training("--trainer.max_steps", "0", "nothing to train", "give more"),
    _training("--trainer.max_epochs", "0", "nothing to train", "give more"),
    _training("--trainer.max_epochs", "-1", "trainer.max_steps -1", "give either"),
    _training("--trainer.max_time", "00:00:00:00", "nothing to train", "give more"),
    _training("--trainer.limit_train_batches", "0", "nothing to train", "give more"),
    _training("--trainer.limit_train_batches", "0.01", "limit_train_batches=0.02"),
    _training("--trainer.overfit_batches", "0.01", "limit_train_batches=0.02"),
    _training("--data.batch_size", "99999999999999999999999", "at most"),
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
