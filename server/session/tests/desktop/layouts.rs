//! Which keyboard layout is active, as the panel that is shipped learns it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::run;
use crate::support::size;

const PANEL: &str = include_str!("../../../desktop/panel.json");
const KEY_LEFTMETA: u16 = 125;
const KEY_SPACE: u16 = 57;

#[test]
fn panel_learns_which_layout_is_active_where_there_are_several() {
    for (layouts, names) in [
        ("us,de", ["English (US)", "German", "English (US)"]),
        ("us", ["", "", ""]),
    ] {
        let config = format!("autostart = []\n[keyboard]\nlayout = \"{layouts}\"\n");
        run(&config, async |desktop| {
            let panel: serde_json::Value = serde_json::from_str(PANEL).unwrap();
            let follow = panel["custom/layout"]["exec"].as_str().unwrap();
            let mut command = desktop.command("sh");
            command.args(["-c", follow]).stdout(Stdio::piped());
            let mut following = command.kill_on_drop(true).spawn().unwrap();
            let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
            let mut terminal = desktop.attach("a", size(640, 480)).await;
            let first = terminal.beside(lines.next_line()).await.unwrap();
            assert_eq!(first.as_deref(), Some(names[0]));
            for name in names.into_iter().skip(1).filter(|name| !name.is_empty()) {
                terminal.key(KEY_LEFTMETA, true).await;
                terminal.key(KEY_SPACE, true).await;
                terminal.key(KEY_SPACE, false).await;
                terminal.key(KEY_LEFTMETA, false).await;
                let next = terminal.beside(lines.next_line()).await.unwrap();
                assert_eq!(next.as_deref(), Some(name));
            }
        });
    }
}
