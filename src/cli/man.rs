//! `pgtend man`: one page for the program and all of its commands, since nobody installs a page for each.

use std::io::{self, Write};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

/// Writes the page, in roff.
///
/// # Errors
/// The reader has gone away.
pub fn write(out: &mut impl Write) -> io::Result<()> {
    let program = super::Args::command();
    let man = Man::new(program.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    writeln!(out, ".SH COMMANDS")?;
    for command in program.get_subcommands() {
        let name = format!("{} {}", program.get_name(), command.get_name());
        section(out, command, &name)?;
        for inner in command.get_subcommands() {
            section(out, inner, &format!("{name} {}", inner.get_name()))?;
        }
    }
    writeln!(out, ".SH EXAMPLES")?;
    examples(out, &program)
}

fn section(out: &mut impl Write, command: &Command, name: &str) -> io::Result<()> {
    writeln!(out, ".SS {name}")?;
    let man = Man::new(command.clone().bin_name(name).disable_help_flag(true).disable_help_subcommand(true));
    let mut section = Vec::new();
    man.render_synopsis_section(&mut section)?;
    man.render_description_section(&mut section)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut section)?;
    }
    // A command's headings would look like the program's own.
    for line in String::from_utf8_lossy(&section).lines() {
        let heading = line.starts_with(".SH") || line.starts_with(".ie") || line.starts_with(".el");
        writeln!(out, "{}", if heading { ".PP" } else { line })?;
    }
    examples(out, command)
}

/// What stands below a command's help, line by line as it is.
fn examples(out: &mut impl Write, command: &Command) -> io::Result<()> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    writeln!(out, ".PP\n.nf")?;
    for line in text.lines() {
        // A line that begins with a dot or a quote would be a request.
        writeln!(out, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"))?;
    }
    writeln!(out, ".fi")
}
