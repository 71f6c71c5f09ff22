"""The paper's experiments as data, and what runs them."""

from prompt_hub.experiments.recipe import SCALES, Recipe, commands, load_recipe, recipe_names
from prompt_hub.experiments.run import StepDone, run_commands

__all__ = ["SCALES", "Recipe", "StepDone", "commands", "load_recipe", "recipe_names", "run_commands"]
