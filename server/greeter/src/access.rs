//! What those learn who cannot see the page: a tree of words and controls for a screen reader.

use std::sync::{Arc, Mutex};

use accesskit::{
    Action, ActionData, ActionHandler, ActionRequest, ActivationHandler, DeactivationHandler, Live,
    Node, NodeId, Rect, Role, Toggled, TreeId, TreeInfo, TreeUpdate,
};
use accesskit_unix::Adapter;
use calloop::channel::Sender;

use crate::login::{Control, Login, Stage};
use crate::page::Page;
use crate::scene::Area;

const ROOT: NodeId = NodeId(0);
/// Words have numbers from here on, controls lower ones.
const WORDS: u64 = 1000;

/// What somebody wants by way of a screen reader.
#[derive(Debug)]
pub enum Wish {
    /// Do what a control does.
    Act(Control),
    /// Give it the focus.
    Focus(Control),
    /// Type this into the field.
    Text(String),
}

/// See the module.
pub struct Access {
    adapter: Adapter,
    /// The tree of the page that is shown.
    present: Arc<Mutex<Option<TreeUpdate>>>,
}

impl Access {
    /// Waits for a screen reader, and posts what is wished by way of it.
    pub fn new(wishes: Sender<Wish>) -> Self {
        let present = Arc::new(Mutex::new(None));
        let mut adapter = Adapter::new(
            Present(present.clone()),
            Wishes(Mutex::new(wishes)),
            Nothing,
        );
        // The only window of its session.
        adapter.update_window_focus_state(true);
        Self { adapter, present }
    }

    /// Tells of another page.
    pub fn update(&mut self, login: &Login, page: &Page) {
        let update = tree(login, page);
        self.adapter.update_if_active(|| update.clone());
        *self.present.lock().expect("no thread panics with it") = Some(update);
    }
}

struct Present(Arc<Mutex<Option<TreeUpdate>>>);

impl ActivationHandler for Present {
    fn request_initial_tree(&mut self) -> Option<TreeUpdate> {
        self.0.lock().expect("no thread panics with it").clone()
    }
}

struct Wishes(Mutex<Sender<Wish>>);

impl ActionHandler for Wishes {
    fn do_action(&mut self, request: ActionRequest) {
        let Some(control) = control_of(request.target_node) else {
            return;
        };
        let wish = match (request.action, request.data) {
            (Action::Click, _) => Wish::Act(control),
            (Action::Focus, _) => Wish::Focus(control),
            (Action::SetValue, Some(ActionData::Value(text))) => Wish::Text(text.into()),
            _ => return,
        };
        let _ = self.0.lock().expect("no thread panics with it").send(wish);
    }
}

struct Nothing;

impl DeactivationHandler for Nothing {
    fn deactivate_accessibility(&mut self) {}
}

const CONTROLS: [Control; 8] = [
    Control::Name,
    Control::Answer,
    Control::Reveal,
    Control::Enrol,
    Control::Desktop,
    Control::Layout,
    Control::Go,
    Control::Over,
];

fn id_of(control: Control) -> NodeId {
    NodeId(control as u64 + 1)
}

fn control_of(id: NodeId) -> Option<Control> {
    CONTROLS.into_iter().find(|control| id_of(*control) == id)
}

fn bounds(area: &Area) -> Rect {
    let (x, y) = (f64::from(area.x), f64::from(area.y));
    Rect::new(x, y, x + f64::from(area.w), y + f64::from(area.h))
}

fn tree(login: &Login, page: &Page) -> TreeUpdate {
    let mut nodes = Vec::new();
    for (at, (text, area)) in page.words.iter().enumerate() {
        let mut node = Node::new(Role::Label);
        node.set_value(text.clone());
        node.set_bounds(bounds(area));
        // What PAM and the broker say is read out when it comes.
        if login.notices.iter().any(|notice| notice.text == *text) {
            node.set_live(Live::Assertive);
        }
        nodes.push((NodeId(WORDS + at as u64), node));
    }
    for (control, area) in &page.targets {
        let mut node = described(login, *control);
        node.set_bounds(bounds(area));
        node.add_action(Action::Focus);
        nodes.push((id_of(*control), node));
    }
    let mut root = Node::new(Role::Window);
    root.set_label("Log in");
    root.set_children(nodes.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let has_focus = page
        .targets
        .iter()
        .any(|(control, _)| *control == login.focus);
    let focus = match has_focus {
        true => id_of(login.focus),
        false => ROOT,
    };
    nodes.push((ROOT, root));
    TreeUpdate {
        nodes,
        tree: Some(TreeInfo::new(ROOT)),
        tree_id: TreeId::ROOT,
        focus,
    }
}

fn described(login: &Login, control: Control) -> Node {
    let button = |label: &str| {
        let mut node = Node::new(Role::Button);
        node.set_label(label.to_owned());
        node.add_action(Action::Click);
        node
    };
    let choice = |label: &str, values: &[String], at: usize| {
        let mut node = button(label);
        node.set_role(Role::ComboBox);
        node.set_value(values.get(at).cloned().unwrap_or_default());
        node
    };
    match control {
        Control::Name => field(Role::TextInput, "Name", Some(login.name.text())),
        Control::Answer => answer(login),
        Control::Reveal if login.revealed => button("Hide what is typed"),
        Control::Reveal => button("Show what is typed"),
        Control::Enrol => {
            let mut node = button("Use this card from now on");
            node.set_role(Role::CheckBox);
            node.set_toggled(match login.enrol {
                true => Toggled::True,
                false => Toggled::False,
            });
            node
        }
        Control::Desktop => choice("Desktop", &login.context.desktops, login.desktop),
        Control::Layout => choice("Keyboard", &login.context.layouts, login.layout),
        Control::Go => button("Continue"),
        Control::Over => button("Start over"),
    }
}

fn answer(login: &Login) -> Node {
    match &login.stage {
        // A password is told to nobody, even where it is shown.
        Stage::Asked {
            prompt,
            secret: true,
        } => {
            let mut node = field(Role::PasswordInput, prompt, None);
            if login.caps_lock {
                node.set_description("Caps Lock is on.");
            }
            node
        }
        Stage::Asked { prompt, .. } => field(Role::TextInput, prompt, Some(login.answer.text())),
        _ => field(Role::TextInput, "", None),
    }
}

fn field(role: Role, label: &str, text: Option<&str>) -> Node {
    let mut node = Node::new(role);
    node.set_label(label.to_owned());
    if let Some(text) = text {
        node.set_value(text.to_owned());
    }
    node.add_action(Action::SetValue);
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_have_numbers_of_their_own() {
        for control in CONTROLS {
            assert_eq!(control_of(id_of(control)), Some(control));
        }
        assert_eq!(control_of(ROOT), None);
        assert_eq!(control_of(NodeId(WORDS)), None);
    }

    #[test]
    fn a_screen_reader_hears_what_stands_there_and_no_password() {
        use heliostat_control::greetd::{AuthMessageType, Response};

        use crate::login::Key;
        let mut login = Login::default();
        login.connected();
        login.answered(Response::Success);
        login.key(Key::Text("ann".to_owned()));
        login.key(Key::Enter);
        for (kind, text) in [
            (AuthMessageType::Info, "The password is old."),
            (AuthMessageType::Secret, "Password:"),
        ] {
            login.answered(Response::AuthMessage {
                auth_message_type: kind,
                auth_message: text.to_owned(),
            });
        }
        login.key(Key::Text("hunter2".to_owned()));
        let mut fonts = crate::text::Fonts::new();
        let around = crate::page::Around::default();
        for revealed in [false, true] {
            login.revealed = revealed;
            let page = crate::page::lay_out(&login, &around, (1280, 800), 1.0, &mut fonts);
            let update = tree(&login, &page);
            assert!(!format!("{update:?}").contains("hunter2"));
            assert_eq!(update.focus, id_of(Control::Answer));
            let node = |id: NodeId| update.nodes.iter().find(|(other, _)| *other == id);
            let (_, field) = node(update.focus).expect("the focus is in the tree");
            assert_eq!(field.role(), Role::PasswordInput);
            assert_eq!(field.label(), Some("Password"));
            let mut nodes = update.nodes.iter();
            let notice = nodes.find(|(_, node)| node.value() == Some("The password is old."));
            let (_, notice) = notice.expect("the notice is in the tree");
            assert_eq!(notice.live(), Some(Live::Assertive));
            let (_, root) = node(ROOT).expect("there is a root");
            assert_eq!(root.children().len() + 1, update.nodes.len());
        }
    }
}
