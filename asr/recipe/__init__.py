"""Recipes: a value that says how a corpus becomes a model, the stages that do it, and their command line."""

from asr.recipe.command import main
from asr.recipe.recipe import LanguageModelConfig, Recipe, TokenizerConfig

__all__ = ["LanguageModelConfig", "Recipe", "TokenizerConfig", "main"]
