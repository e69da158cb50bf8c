//! From key codes to what they do, by XKB.

use xkbcommon::xkb::{self, Keysym, compose, keysyms};

use crate::login::Key;

/// XKB's key codes are the kernel's and this.
const OFFSET: u32 = 8;

/// The keyboard.
pub struct Keys {
    context: xkb::Context,
    /// As the session has it.
    session: Option<xkb::Keymap>,
    /// As the person has chosen, and whether that is theirs rather than the session's.
    state: Option<xkb::State>,
    chosen: bool,
    compose: Option<compose::State>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            context: xkb::Context::new(xkb::CONTEXT_NO_FLAGS),
            session: None,
            state: None,
            chosen: false,
            compose: None,
        }
    }
}

impl Keys {
    /// The session's keymap; used where the person has chosen none.
    pub fn set_keymap(&mut self, text: String) {
        let keymap = xkb::Keymap::new_from_string(
            &self.context,
            text,
            xkb::KEYMAP_FORMAT_TEXT_V1,
            xkb::KEYMAP_COMPILE_NO_FLAGS,
        );
        if !self.chosen {
            self.state = keymap.as_ref().map(xkb::State::new);
        }
        self.session = keymap;
    }

    /// Types with a layout such as `de` or `us(intl)`. Says whether there is such a one.
    pub fn choose(&mut self, layout: &str) -> bool {
        let (layout, variant) = match layout.split_once('(') {
            Some((layout, variant)) => (layout, variant.trim_end_matches(')')),
            None => (layout, ""),
        };
        let keymap = xkb::Keymap::new_from_names(
            &self.context,
            "",
            "",
            layout,
            variant,
            None,
            xkb::KEYMAP_COMPILE_NO_FLAGS,
        );
        let Some(keymap) = keymap else { return false };
        let mut state = xkb::State::new(&keymap);
        if let Some(old) = &self.state {
            let part = |component| old.serialize_mods(component);
            let (depressed, latched) = (xkb::STATE_MODS_DEPRESSED, xkb::STATE_MODS_LATCHED);
            let locked = part(xkb::STATE_MODS_LOCKED);
            state.update_mask(part(depressed), part(latched), locked, 0, 0, 0);
        }
        self.state = Some(state);
        self.chosen = true;
        true
    }

    /// The modifiers, as the session says.
    pub fn set_modifiers(&mut self, depressed: u32, latched: u32, locked: u32, group: u32) {
        // The groups are those of the session's keymap.
        let group = if self.chosen { 0 } else { group };
        if let Some(state) = &mut self.state {
            state.update_mask(depressed, latched, locked, 0, 0, group);
        }
    }

    /// Whether letters are capitals until a key is pressed again.
    pub fn caps_lock(&self) -> bool {
        let is_on = |state: &xkb::State| {
            state.mod_name_is_active(xkb::MOD_NAME_CAPS, xkb::STATE_MODS_LOCKED)
        };
        self.state.as_ref().is_some_and(is_on)
    }

    /// Whether a held key goes on.
    pub fn repeats(&self, code: u32) -> bool {
        let state = self.state.as_ref();
        state.is_some_and(|state| state.get_keymap().key_repeats((code + OFFSET).into()))
    }

    /// What a pressed key does.
    pub fn press(&mut self, code: u32) -> Option<Key> {
        let state = self.state.as_ref()?;
        let symbol = state.key_get_one_sym((code + OFFSET).into());
        let control = state.mod_name_is_active(xkb::MOD_NAME_CTRL, xkb::STATE_MODS_EFFECTIVE);
        let is_on = |name: &str| state.mod_name_is_active(name, xkb::STATE_MODS_EFFECTIVE);
        // Such chords are a desktop's, and there is none.
        if is_on(xkb::MOD_NAME_ALT) || is_on(xkb::MOD_NAME_LOGO) {
            return None;
        }
        if let Some(key) = named(symbol, control) {
            if let Some(compose) = &mut self.compose {
                compose.reset();
            }
            return Some(key);
        }
        if control {
            return None;
        }
        self.composed(symbol)
    }

    /// Dead keys and the compose key take their time.
    fn composed(&mut self, symbol: Keysym) -> Option<Key> {
        let raw = symbol.raw();
        let begins = raw == keysyms::KEY_Multi_key
            || (keysyms::KEY_dead_grave..=keysyms::KEY_dead_greek).contains(&raw);
        if self.compose.is_none() && begins {
            self.compose = compose_table(&self.context)
                .map(|table| compose::State::new(&table, compose::STATE_NO_FLAGS));
        }
        if let Some(compose) = &mut self.compose {
            compose.feed(symbol);
            match compose.status() {
                compose::Status::Composing => return None,
                compose::Status::Composed => {
                    let text = compose.utf8();
                    compose.reset();
                    return text.map(Key::Text);
                }
                compose::Status::Cancelled => {
                    compose.reset();
                    return None;
                }
                compose::Status::Nothing => {}
            }
        }
        let text = xkb::keysym_to_utf8(symbol);
        let text = text.trim_end_matches('\0');
        let types = !text.is_empty() && !text.contains(char::is_control);
        types.then(|| Key::Text(text.to_owned()))
    }
}

/// The rules of compose and dead keys; those of another locale are better than none.
fn compose_table(context: &xkb::Context) -> Option<compose::Table> {
    let own = ["LC_ALL", "LC_CTYPE", "LANG"];
    let own = own.iter().find_map(std::env::var_os);
    let locales = own.into_iter().chain(["en_US.UTF-8".into()]);
    let mut tables = locales.filter_map(|locale| {
        compose::Table::new_from_locale(context, &locale, compose::COMPILE_NO_FLAGS).ok()
    });
    tables.next()
}

fn named(symbol: Keysym, control: bool) -> Option<Key> {
    Some(match symbol {
        Keysym::u if control => Key::Clear,
        Keysym::a if control => Key::Home,
        Keysym::e if control => Key::End,
        Keysym::Return | Keysym::KP_Enter => Key::Enter,
        Keysym::Tab | Keysym::Down => Key::Tab,
        Keysym::ISO_Left_Tab | Keysym::Up => Key::BackTab,
        Keysym::Escape => Key::Escape,
        Keysym::BackSpace => Key::Backspace,
        Keysym::Delete | Keysym::KP_Delete => Key::Delete,
        Keysym::Left | Keysym::KP_Left => Key::Left,
        Keysym::Right | Keysym::KP_Right => Key::Right,
        Keysym::Home | Keysym::KP_Home => Key::Home,
        Keysym::End | Keysym::KP_End => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Codes of the kernel.
    const Y: u32 = 21;
    const SEMICOLON: u32 = 39;
    const A: u32 = 30;
    const APOSTROPHE: u32 = 40;
    const TAB: u32 = 15;
    const SHIFT: u32 = 1;
    const LOCK: u32 = 2;
    const CONTROL: u32 = 4;
    const ALT: u32 = 8;
    const LOGO: u32 = 64;

    fn typed(keys: &mut Keys, code: u32) -> Option<String> {
        match keys.press(code)? {
            Key::Text(text) => Some(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_chosen_layout_types_and_not_the_sessions() {
        let mut keys = Keys::default();
        assert!(keys.choose("us"));
        let text = keys.state.as_ref().unwrap().get_keymap();
        let text = text.get_as_string(xkb::KEYMAP_FORMAT_TEXT_V1);
        let mut keys = Keys::default();
        keys.set_keymap(text.clone());
        assert_eq!(typed(&mut keys, Y).as_deref(), Some("y"));
        assert!(keys.choose("de"));
        assert_eq!(typed(&mut keys, Y).as_deref(), Some("z"));
        assert_eq!(typed(&mut keys, SEMICOLON).as_deref(), Some("ö"));
        // A keymap that comes later changes nothing.
        keys.set_keymap(text);
        assert_eq!(typed(&mut keys, Y).as_deref(), Some("z"));
        assert!(!keys.choose("no-such-layout"));
        assert_eq!(typed(&mut keys, Y).as_deref(), Some("z"));
    }

    #[test]
    fn dead_keys_wait_for_their_letter() {
        let mut keys = Keys::default();
        assert!(keys.choose("us(intl)"));
        assert_eq!(keys.press(APOSTROPHE), None);
        assert_eq!(typed(&mut keys, A).as_deref(), Some("á"));
        assert_eq!(typed(&mut keys, A).as_deref(), Some("a"));
    }

    #[test]
    fn modifiers_are_seen() {
        let mut keys = Keys::default();
        assert!(keys.choose("us"));
        keys.set_modifiers(0, 0, LOCK, 0);
        assert!(keys.caps_lock());
        assert_eq!(typed(&mut keys, A).as_deref(), Some("A"));
        assert!(keys.choose("de"));
        assert!(keys.caps_lock());
        keys.set_modifiers(SHIFT, 0, 0, 0);
        assert_eq!(keys.press(TAB), Some(Key::BackTab));
        keys.set_modifiers(CONTROL, 0, 0, 0);
        assert_eq!(keys.press(A), Some(Key::Home));
        assert_eq!(keys.press(Y), None);
        for modifier in [ALT, LOGO] {
            keys.set_modifiers(modifier, 0, 0, 0);
            assert_eq!(keys.press(A), None);
            assert_eq!(keys.press(TAB), None);
        }
    }
}
