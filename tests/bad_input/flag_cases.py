"""Bad flags, config files and numbers."""

from __future__ import annotations

from .case import Case


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
    Case(
        "Flags",
        "a callback that no config can hold",
        "--trainer.callbacks Timer",
        ("config.yaml", "Interval.step", "leave out"),
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
    Case("Configs", "a pipe", "--config pipe", ("config pipe: ", "write it into a file")),
    Case("Configs", "a section twice", "--config twice.yaml", ("line 4: refine", "write it once")),
    Case("Configs", "a key twice", "--config twice_within.yaml", ("line 1: share", "once")),
    Case(
        "Configs",
        "of a section, a key twice",
        "--refine share_twice.yaml",
        ("share_twice.yaml, line 2: share", "write it once"),
    ),
    Case("Configs", "of a section, a pipe", "--refine pipe", ("config pipe: ", "into a file")),
    Case("Configs", "of data, a pipe", "--data pipe", ("config pipe: ", "into a file")),
    Case("Configs", "within one, a pipe", "--config names_pipe.yaml", ("config pipe: ",)),
    Case("Configs", "of a section, Latin-1", "--edit latin1.csv", ("latin1.csv",)),
    Case("Configs", "half an emoji", "--config half_emoji.yaml", ("half_emoji.yaml",)),
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
    _number("--edit.lambda_1", "1e300", "1,000,000"),
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
    Case(
        "Numbers",
        "more processes than a number of 64 bits counts",
        "--trainer.devices 18446744073709551616",
        ("trainer.devices 18446744073709551616", "one a core"),
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
)
