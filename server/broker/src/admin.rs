//! The admin socket: `<run_dir>/admin.sock`, one JSON line a request and a reply.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use heliostat_control::admin::{
    AuditRow, CardKeys, Failure, MAX_ROWS, Overview, Reply, Request, Status, Why,
};
use heliostat_control::hex;
use heliostat_control::lines::{self, LineError, LineReader};
use nix::unistd::{Group, Uid, User};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use crate::directory::{Action, Changed, Event, Keys, Standing};
use crate::hub::{Hub, Incoming, ToHub};
use crate::proof::EnrolledKey;
use crate::survey::Form;
use crate::{accounts, card_ids, groups};

/// Bytes of a request.
const MAX_REQUEST: usize = 64 << 10;
/// Administrators at once.
const MAX_CONNECTIONS: usize = 32;
/// Characters of what an administrator said that go into an audit line.
const MAX_SHOWN: usize = 300;
/// A connection on which nothing is asked for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// What the broker says about itself.
#[derive(Debug, Clone)]
pub struct About {
    /// The site's name.
    pub site: String,
    /// The site key's pin.
    pub site_key: String,
    /// Where control links arrive.
    pub listen: String,
}

/// Opens the socket; `group` may use it besides root.
pub fn listen(path: &Path, group: Option<&str>) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another broker answers on {shown}: stop it first");
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {shown}"));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {shown}"))?;
    let mut mode = 0o600;
    if let Some(name) = group {
        let group = Group::from_name(name)?.with_context(|| {
            format!(
                "admin_group: there is no group {name:?}; make it with groupadd, or leave it out"
            )
        })?;
        chown(path, None, Some(group.gid.as_raw()))
            .with_context(|| format!("cannot give {shown} to group {name}"))?;
        mode = 0o660;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Answers administrators until the listener fails.
pub async fn accept(listener: UnixListener, with_group: bool, hub: ToHub) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(problem) => {
                warn!(%problem, "the admin socket does not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let hub = hub.clone();
        tokio::spawn(async move {
            if let Err(problem) = converse(stream, with_group, hub).await {
                debug!(%problem, "an administrator's connection ended");
            }
            drop(place);
        });
    }
}

/// The socket's permissions say who may connect; this says it again for the case that someone
/// loosens them.
fn may_ask(stream: &UnixStream, with_group: bool) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(with_group || uid == 0 || uid == Uid::effective().as_raw())
}

async fn converse(mut stream: UnixStream, with_group: bool, hub: ToHub) -> anyhow::Result<()> {
    if !may_ask(&stream, with_group)? {
        bail!("not root");
    }
    let asker = asker(stream.peer_cred()?.uid()).await;
    let mut reader = LineReader::new(MAX_REQUEST);
    let mut bytes = vec![0; 4096];
    loop {
        let request = match reader.message::<Request>() {
            Ok(None) => {
                let read = tokio::time::timeout(IDLE, stream.read(&mut bytes)).await??;
                if read == 0 {
                    return Ok(());
                }
                reader.push(&bytes[..read]);
                continue;
            }
            Ok(Some(request)) => Ok(request),
            Err(error @ LineError::TooLong { .. }) => return Err(error.into()),
            Err(LineError::NotAMessage(error)) => Err(error),
        };
        let reply = match request {
            Ok(request) => ask(&hub, request, &asker).await,
            Err(error) => Reply::Failed(Failure {
                why: Why::BadRequest,
                text: format!("not a request that this broker knows: {error}"),
            }),
        };
        stream.write_all(&lines::encode(&reply)).await?;
    }
}

/// Who is at the other end, as the kernel says: a user's name and number.
async fn asker(uid: u32) -> String {
    // The name service may be slow.
    let user = tokio::task::spawn_blocking(move || User::from_uid(Uid::from_raw(uid)));
    match user.await {
        Ok(Ok(Some(user))) => format!("{} ({uid})", user.name),
        _ => format!("({uid})"),
    }
}

/// Puts a request of `asker` to the hub.
pub(crate) async fn ask(hub: &ToHub, request: Request, asker: &str) -> Reply {
    let (answer, reply) = oneshot::channel();
    let sent = hub
        .send(Incoming::Admin(request, asker.to_owned(), answer))
        .await;
    let reply = match sent {
        Ok(()) => reply.await.ok(),
        Err(_) => None,
    };
    reply.unwrap_or_else(|| {
        Reply::Failed(Failure {
            why: Why::Internal,
            text: "the broker is shutting down; try again".to_owned(),
        })
    })
}

impl Hub {
    /// Finds out which groups those people are in whom a question of the policy is about, and
    /// answers it then. What is asked of the rest is answered at once.
    pub(crate) fn inform(
        &mut self,
        mut request: Request,
        asker: String,
        answer: oneshot::Sender<Reply>,
    ) {
        card_ids::put_in_one_case(&mut request);
        let unknown = match &request {
            Request::CardShow { card } => self.directory.ungrouped(Some(card), None),
            Request::PolicyExplain { card, person, .. } => {
                self.directory.ungrouped(card.as_deref(), person.as_deref())
            }
            Request::PolicyCheck => self.directory.all_ungrouped(),
            _ => Vec::new(),
        };
        let to_hub = self.to_hub.clone();
        let informed = Incoming::Informed(request, asker, answer);
        if unknown.is_empty() {
            return self.incoming(informed);
        }
        tokio::task::spawn_blocking(move || {
            let groups = Event::Groups(groups::of(&unknown));
            let _ = to_hub.blocking_send(Incoming::Event(groups));
            let _ = to_hub.blocking_send(informed);
        });
    }

    /// Answers an administrator. What takes the disk or the name service is answered from a task.
    pub(crate) fn admin(&mut self, request: Request, asker: &str, answer: oneshot::Sender<Reply>) {
        match request {
            Request::Status => drop(answer.send(Reply::Status(self.status()))),
            Request::Overview => drop(answer.send(Reply::Overview(Overview {
                status: self.status(),
                policy_refused: self.directory.policy_refused().map(str::to_owned),
            }))),
            Request::CardList => drop(answer.send(Reply::Cards(self.directory.card_rows()))),
            Request::TerminalList => {
                drop(answer.send(Reply::Terminals(self.directory.terminal_rows())));
            }
            Request::SessionList => self.ask_sessions(Form::Rows, answer),
            Request::Metrics => self.ask_sessions(Form::Metrics, answer),
            Request::PersonList => self.people(answer),
            Request::Receipts { since_ms, limit } => {
                let rows = self
                    .store
                    .receipts(since_ms.unwrap_or(0), limit.min(MAX_ROWS));
                tokio::spawn(pass(rows, answer, Reply::Receipts));
            }
            Request::Audit { limit, only } => {
                let rows = self.store.audit_rows(limit.min(MAX_ROWS), only);
                tokio::spawn(pass(rows, answer, Reply::Audit));
            }
            Request::CardShow { card } => {
                let rows = self.directory.card_rows();
                let _ = answer.send(match rows.into_iter().find(|row| row.card == card) {
                    Some(row) => {
                        let policy =
                            self.directory
                                .explain(Some(&card), None, row.terminal.as_deref());
                        Reply::Card(row, policy)
                    }
                    None => Reply::Failed(Failure {
                        why: Why::NotFound,
                        text: format!("there is no card {card}; see heliostatctl card list"),
                    }),
                });
            }
            Request::PolicyExplain {
                card,
                person,
                terminal,
            } => {
                let (card, person) = (card.as_deref(), person.as_deref());
                let explained = self.directory.explain(card, person, terminal.as_deref());
                let _ = answer.send(Reply::Policy(explained));
            }
            Request::PolicyCheck => self.check_policy(answer),
            change => self.change(change, asker, answer),
        }
    }

    fn change(&mut self, request: Request, asker: &str, answer: oneshot::Sender<Reply>) {
        let now = self.now();
        let directory = &mut self.directory;
        let changed: Changed = match &request {
            Request::CardAdd {
                card,
                person,
                label,
                first_use,
                keys,
            } => {
                let standing = match first_use {
                    true => Standing::FirstUse,
                    false => Standing::Good,
                };
                read_keys(keys)
                    .and_then(|keys| directory.add_card(now, card, person, label, standing, keys))
            }
            Request::CardAlias { card, alias } => directory.alias_card(now, card, alias),
            Request::CardApprove { card } => directory.approve_card(now, card),
            Request::SessionLock { session } => directory.lock_session(now, session),
            Request::CardRevoke { card } => directory.revoke_card(now, card),
            Request::PersonAdd { person } => directory.add_person(now, person),
            Request::SessionEnd { session } => directory.end_session(now, session),
            other => unreachable!("{other:?} changes nothing"),
        };
        match changed {
            Err(failure) => {
                let row = self.asked(&request, asker, &failure.text);
                self.audit(AuditRow {
                    event: "admin_refused".to_owned(),
                    outcome: "refused".to_owned(),
                    ..row
                });
                drop(answer.send(Reply::Failed(failure)));
            }
            Ok((text, mut actions)) => {
                for action in &mut actions {
                    if let Action::Audit(row) = action {
                        asker.clone_into(&mut row.by);
                    }
                }
                if !actions
                    .iter()
                    .any(|action| matches!(action, Action::Audit(_)))
                {
                    actions.push(Action::Audit(self.asked(&request, asker, &text)));
                }
                self.perform(actions);
                let kept = self.store.flushed();
                tokio::spawn(pass(kept, answer, |kept| match kept {
                    Ok(()) => Reply::Done(text),
                    Err(problem) => Reply::Failed(Failure {
                        why: Why::Internal,
                        text: format!("{text}, but that could not be kept: {problem}"),
                    }),
                }));
            }
        }
    }

    /// An audit line about what an administrator asked for.
    fn asked(&self, request: &Request, asker: &str, text: &str) -> AuditRow {
        let (word, person, card) = match request {
            Request::CardAdd { card, person, .. } => ("card add", person.as_str(), card.as_str()),
            Request::CardAlias { alias, .. } => ("card alias", "", alias.as_str()),
            Request::CardApprove { card } => ("card approve", "", card.as_str()),
            Request::CardRevoke { card } => ("card revoke", "", card.as_str()),
            Request::PersonAdd { person } => ("person add", person.as_str(), ""),
            Request::SessionLock { session } => ("session lock", session.as_str(), ""),
            Request::SessionEnd { session } => ("session end", session.as_str(), ""),
            _ => ("", "", ""),
        };
        let short = |text: &str| text.chars().take(MAX_SHOWN).collect::<String>();
        AuditRow {
            at_ms: self.now().unix_ms,
            event: "admin".to_owned(),
            outcome: "ok".to_owned(),
            person: short(person),
            card: short(card),
            by: asker.to_owned(),
            detail: format!("{word}: {}", short(text)),
            ..AuditRow::default()
        }
    }

    /// Whom the policy names is looked up apart as well.
    fn check_policy(&self, answer: oneshot::Sender<Reply>) {
        let mut warnings = self.directory.policy_warnings();
        let policy = self.directory.policy().clone();
        tokio::task::spawn_blocking(move || {
            warnings.extend(policy.strangers(&groups::unknown(policy.named())));
            let _ = answer.send(Reply::Warnings(warnings));
        });
    }

    /// Accounts are looked up apart, since the name service may be slow.
    fn people(&self, answer: oneshot::Sender<Reply>) {
        let mut rows = self.directory.person_rows(|_| None);
        tokio::task::spawn_blocking(move || {
            for row in &mut rows {
                row.uid = accounts::uid_of(&row.person);
            }
            let _ = answer.send(Reply::People(rows));
        });
    }

    pub(crate) fn status(&self) -> Status {
        let counts = self.directory.counts();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            site: self.about.site.clone(),
            site_key: self.about.site_key.clone(),
            listen: self.about.listen.clone(),
            pid: std::process::id(),
            up_s: self.up().as_secs(),
            terminals_online: counts.terminals_online,
            sessions: counts.sessions,
            attached: counts.attached,
            cards: counts.cards,
        }
    }
}

/// Keys as an administrator's tool has read them off a card.
fn read_keys(keys: &CardKeys) -> Result<Keys, Failure> {
    let key = |digits: &Option<String>| -> Result<Option<EnrolledKey>, Failure> {
        let Some(digits) = digits else {
            return Ok(None);
        };
        let bad = |why: String| Failure {
            why: Why::BadRequest,
            text: format!("that is no key of a card: {why}"),
        };
        let bytes = hex::bytes(digits).map_err(|error| bad(error.to_string()))?;
        let key = EnrolledKey::from_spki(&bytes).map_err(|error| bad(error.to_string()))?;
        Ok(Some(key))
    };
    Ok(Keys {
        card: key(&keys.card)?,
        owner: key(&keys.owner)?,
    })
}

/// Passes an answer on when it comes.
async fn pass<T>(
    from: oneshot::Receiver<T>,
    to: oneshot::Sender<Reply>,
    form: impl FnOnce(T) -> Reply,
) {
    let reply = match from.await {
        Ok(answer) => form(answer),
        Err(_) => Reply::Failed(Failure {
            why: Why::Internal,
            text: "the store does not answer; see the broker's log".to_owned(),
        }),
    };
    let _ = to.send(reply);
}
