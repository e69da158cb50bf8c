//! What is drawn, when, and where: the plan that drawing clients and the harness share.

use std::time::Duration;

use crate::canvas::Rect;
use crate::text::CELL_H;

/// The screen of most workloads.
const SCREEN: (u32, u32) = (1920, 1080);
/// Height of the bar above a text, which holds the marker and does not scroll.
pub const BAR_H: u32 = 36;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// A character appears at each key.
    Typing,
    /// The same while a film of 640×360 plays.
    TypingVideo,
    /// The same while one photo after the other fills the screen below the text.
    TypingPhotos,
    /// Typing on a screen of 3840×2160.
    #[value(name = "typing-4k")]
    #[serde(rename = "typing-4k")]
    Typing4k,
    /// Typing on a screen as wide as two of those.
    #[value(name = "typing-2x4k")]
    #[serde(rename = "typing-2x4k")]
    Typing2x4k,
    /// A page of text goes up three lines a frame.
    Scroll,
    /// A photo of 800×600 moves over text inside one surface.
    Drag,
    /// A window with a photo of 800×600 is moved over a window with text.
    Move,
    /// A menu opens and closes over text.
    Menu,
    /// Two full-screen windows take turns.
    Switch,
    /// A film of 640×360 at 30 frames a second in a still desktop.
    Video360,
    /// A film of 1280×720 at 30 frames a second in a still desktop.
    Video720,
    /// A full-screen photo gives way to another.
    Photo,
    /// Nothing happens.
    Idle,
}

/// What makes it go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The clock, at this interval.
    Every(Duration),
    /// Keys at the viewer.
    Keys,
    /// Keys at the viewer, while the clock drives the film.
    KeysOverFilm(Duration),
    /// The mouse at the viewer, at this interval.
    Mouse(Duration),
    /// A shortcut at the viewer, at this interval.
    Shortcut(Duration),
    /// Nothing.
    Still,
}

/// What lies over the full-screen surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Nothing.
    Nothing,
    /// A film in a subsurface, or in a child window.
    Film(Rect),
    /// Photos in place of the film.
    Photos(Rect),
    /// A menu, which is there in odd frames.
    Menu(Rect),
    /// A second window with a photo, of this size.
    Window(u32, u32),
    /// A second full-screen window.
    Page,
}

const HZ_60: Duration = Duration::from_nanos(16_666_667);
const HZ_30: Duration = Duration::from_nanos(33_333_333);

impl Workload {
    /// Width and height of its screen.
    pub fn screen(self) -> (u32, u32) {
        match self {
            Self::Typing4k => (3840, 2160),
            Self::Typing2x4k => (7680, 2160),
            _ => SCREEN,
        }
    }

    /// Whether keys make characters appear.
    pub fn is_typing(self) -> bool {
        matches!(self.pace(), Pace::Keys | Pace::KeysOverFilm(_))
    }

    /// What makes it go on.
    pub fn pace(self) -> Pace {
        match self {
            Self::Typing | Self::Typing4k | Self::Typing2x4k => Pace::Keys,
            Self::TypingPhotos => Pace::KeysOverFilm(Duration::from_millis(150)),
            Self::TypingVideo => Pace::KeysOverFilm(HZ_30),
            Self::Scroll | Self::Drag => Pace::Every(HZ_60),
            Self::Move => Pace::Mouse(HZ_60),
            Self::Menu => Pace::Every(Duration::from_millis(150)),
            Self::Switch => Pace::Shortcut(Duration::from_millis(400)),
            Self::Video360 | Self::Video720 => Pace::Every(HZ_30),
            Self::Photo => Pace::Every(Duration::from_millis(750)),
            Self::Idle => Pace::Still,
        }
    }

    /// What lies over the full-screen surface.
    pub fn over(self) -> Over {
        match self {
            Self::TypingVideo | Self::Video360 => Over::Film(Rect::new(1200, 640, 640, 360)),
            Self::TypingPhotos => {
                let top = BAR_H + 4 * CELL_H;
                Over::Photos(Rect::new(0, top, SCREEN.0, SCREEN.1 - top))
            }
            Self::Video720 => Over::Film(Rect::new(320, 200, 1280, 720)),
            Self::Menu => Over::Menu(Rect::new(400, 200, 240, 400)),
            Self::Move => Over::Window(800, 600),
            Self::Switch => Over::Page,
            _ => Over::Nothing,
        }
    }

    /// Where the marker is that tells frames apart.
    pub fn marker(self) -> (u32, u32) {
        match self {
            Self::Video360 | Self::Video720 => match self.over() {
                Over::Film(rect) => (rect.x, rect.y),
                _ => (0, 0),
            },
            _ => (0, 0),
        }
    }

    /// Whether the clock drives what lies over and not the full-screen surface.
    pub fn clock_drives_over(self) -> bool {
        matches!(self.over(), Over::Film(_) | Over::Photos(_))
    }

    /// Its name, as on the command line.
    pub fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}
