"""Help in sections: a command with many options says what each group of them is about."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

HELP_ALL = "--help-all"


class SectionedCommand(click.Command):
    """A command whose help lists options under titles; those in no section come last.

    sections: title → the options under it, by their long name, in the order they are shown.
    first_screen: the options of the sections that ``--help`` shows; the others take ``--help-all``. Empty: all.
    """

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Sequence[str]],
        first_screen: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.sections = sections
        self.first_screen = frozenset(first_screen)
        if first_screen:
            self.params.append(_help_all())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one definition list a section."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        records = {option.opts[-1]: option.get_help_record(ctx) for option in options}
        titled = {name for names in self.sections.values() for name in names}
        others = [name for name in records if name not in titled]
        for title, names in {**self.sections, "Other": others}.items():
            if shown := [record for name in names if self._shows(name, ctx) and (record := records[name]) is not None]:
                with formatter.section(title):
                    formatter.write_dl(shown)

    def _shows(self, option: str, ctx: click.Context) -> bool:
        always = {HELP_ALL, "--help", "--quiet"}
        return not self.first_screen or bool(ctx.meta.get(HELP_ALL)) or option in self.first_screen | always


def _help_all() -> click.Option:
    def show(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            ctx.meta[HELP_ALL] = True
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()

    return click.Option(
        [HELP_ALL], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show all options."
    )
