//! The terminal of the live screen: keys come in, pictures go out, and it is left as it was, whatever happens.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    mem::{self, ManuallyDrop},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use log::LevelFilter;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};

use crate::{
    cli::TopArgs,
    new_file,
    render::{
        FORMATS,
        screen::{Key, Screen, Wish},
    },
    report::top::Top,
    session::{Next, is_asked},
};

/// Is there somebody who looks at a screen and has keys?
#[must_use]
pub(super) fn is_wanted(args: &TopArgs) -> bool {
    let is_counted = args.once || args.batch.is_some();
    let is_text = args.output.name == FORMATS[0].name;
    !is_counted && is_text && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The screen on its terminal. Dropping it gives the terminal back.
pub(super) struct Live {
    /// Never dropped: if the terminal is gone, that would complain on it and panic.
    terminal: ManuallyDrop<DefaultTerminal>,
    screen: Screen,
    /// Is there something to be drawn?
    is_new: bool,
    /// What was logged before.
    level: LevelFilter,
}

impl Drop for Live {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
        log::set_max_level(self.level);
    }
}

impl Live {
    /// Takes the terminal. A panic gives it back, too.
    ///
    /// # Errors
    /// If there is none that can be used.
    pub(super) fn begin() -> Result<Self> {
        let terminal = ratatui::try_init().context("cannot use this terminal")?;
        let mut live = Self {
            terminal: ManuallyDrop::new(terminal),
            screen: Screen::new(env::var_os("NO_COLOR").is_none()),
            is_new: true,
            level: log::max_level(),
        };
        // A line on stderr would be written over the picture.
        log::set_max_level(LevelFilter::Off);
        // What it takes to hear keys is opened with the first question, while that is still allowed.
        live.step(Duration::ZERO)?;
        Ok(live)
    }

    /// An interval is to be shown.
    pub(super) fn shows(&mut self, top: Top) {
        self.screen.shows(top);
        self.is_new = true;
    }

    /// Takes the keys that were pressed, waiting for the first for so long, and draws what has changed. A signal ends the wait. It is over
    /// when a key or a signal asks for it, or when the terminal is gone.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub(super) fn step(&mut self, patience: Duration) -> Result<Next> {
        let is_there = wait(patience);
        if is_asked() || !is_there {
            return Ok(Next::End);
        }
        let mut next = Next::GoOn;
        while event::poll(Duration::ZERO).context("cannot read the keys")? {
            self.is_new = true;
            let Event::Key(pressed) = event::read().context("cannot read the keys")? else {
                // Of another size it is drawn anew.
                continue;
            };
            let Some(key) = key(pressed) else { continue };
            match self.screen.press(key) {
                Wish::Nothing => {}
                Wish::Quit => return Ok(Next::End),
                Wish::Look(pids) => next = Next::Look(pids),
                Wish::Write(name, text) => self.screen.notes(write(&name, &text)),
            }
        }
        if mem::replace(&mut self.is_new, false) {
            let Self {
                terminal, screen, ..
            } = self;
            terminal
                .draw(|frame| screen.draw(frame))
                .context("cannot draw on this terminal")?;
        }
        Ok(next)
    }
}

/// Waits so long for a key, or until a signal comes. Returns whether the terminal is there: of one that is gone crossterm would read on
/// without end, and while it waits no signal ends that.
fn wait(patience: Duration) -> bool {
    let mut asked = libc::pollfd {
        fd: libc::STDIN_FILENO,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid entry.
    unsafe { libc::poll(&raw mut asked, 1, patience.as_millis() as libc::c_int) };
    asked.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) == 0
}

/// Writes a text to a new file. Returns what became of it, in words.
fn write(name: &str, text: &str) -> String {
    let written = new_file::create(Path::new(name)).and_then(|(mut file, mut name)| {
        file.write_all(text.as_bytes())?;
        name.take()
    });
    match written {
        Ok(()) => format!("written to {name}"),
        Err(error) => format!("cannot write {name}: {error}"),
    }
}

/// The key; `None` for one that means nothing here, or is let go.
fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let has_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c') if has_control => Key::Interrupt,
        KeyCode::Char(_) if has_control => return None,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Enter => Key::Enter,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_pressed_once_and_control_makes_it_another_one() {
        let pressed = |code, modifiers| key(KeyEvent::new(code, modifiers));
        let plain = KeyModifiers::NONE;
        assert_eq!(pressed(KeyCode::Char('c'), plain), Some(Key::Char('c')));
        let control = KeyModifiers::CONTROL;
        assert_eq!(pressed(KeyCode::Char('c'), control), Some(Key::Interrupt));
        assert_eq!(pressed(KeyCode::Char('q'), control), None);
        assert_eq!(pressed(KeyCode::Esc, plain), Some(Key::Escape));
        let released = KeyEvent {
            kind: KeyEventKind::Release,
            ..KeyEvent::new(KeyCode::Enter, plain)
        };
        assert_eq!(key(released), None);
    }
}
