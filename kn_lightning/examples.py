"""Examples at the end of each command's ``--help``."""

from __future__ import annotations

_LINES = {
    "analyze.py": (
        "python analyze.py",
        "python analyze.py --config configs/concept_neurons.yaml --data.max_groups 20",
        "python analyze.py --model.encoder bert-base-uncased --data JsonlPrompts"
        " --data.path prompts.jsonl",
        "python analyze.py --edit.factors [0,0.5,1.5,2,3] --run_dir runs/doses",
    ),
    "analyze.py report": (
        "python analyze.py report runs/doses",
        "python analyze.py report runs/doses --report.language ja",
    ),
    "analyze.py neurons": ("python analyze.py neurons runs/doses neurons.json",),
    "analyze.py edit": (
        "python analyze.py edit runs/doses erased --concepts kitten puppy --weights erase_zero",
        "python analyze.py edit runs/doses updated --concepts kitten --weights update --new lamb",
    ),
    "analyze.py formation": (
        "python analyze.py formation over_time --encoders step0 step500 step1000",
        "python analyze.py formation over_time --encoders ORG/MODEL@step1k ORG/MODEL@step2k",
        "python analyze.py formation over_time --encoders step0 step500 step1000"
        " --config configs/logger/wandb.yaml",
    ),
    "analyze.py synonyms": (
        "python analyze.py synonyms runs/doses",
        "python analyze.py synonyms runs/doses --pairs pairs.tsv --output synonyms.csv",
    ),
    "analyze.py symmetry": (
        "python analyze.py symmetry runs/subjects runs/objects",
        "python analyze.py symmetry runs/subjects runs/objects --output symmetry.csv",
    ),
    "train.py": (
        "python train.py",
        "python train.py --model.encoder bert-base-uncased --data TextLines --data.path corpus.txt"
        " --export.folder tuned",
    ),
}
COMMANDS = {
    "report": ("RUN_DIR", "its figures and report again"),
    "neurons": ("RUN_DIR FILE.json", "its knowledge neurons as JSON"),
    "edit": ("RUN_DIR FOLDER", "its encoder, with weights of concepts' neurons edited"),
    "synonyms": ("RUN_DIR", "do synonyms share neurons?"),
    "symmetry": (
        "RUN_A RUN_B",
        "is a fact in the same neurons, whichever of its words is asked for?",
    ),
    "formation": ("FOLDER", "when neurons appear, over checkpoints of a training"),
}
"""What ``analyze.py`` does besides a study: of each command what it needs, and what it gives."""


def examples(command: str) -> str:
    """The examples of a command, for the end of its help; of ``analyze.py`` its commands too."""
    further = ""
    if command == "analyze.py":
        does = {f"{name} {needs}": gives for name, (needs, gives) in COMMANDS.items()}
        width = max(map(len, does))
        lines = (f"  {name:{width}}  {gives}\n" for name, gives in does.items())
        further = f"commands on finished runs and trainings, each with --help:\n{''.join(lines)}\n"
    return f"{further}examples:\n" + "".join(f"  {line}\n" for line in _LINES[command])
