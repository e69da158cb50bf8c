//! Brokers from the DNS: the SRV record `_heliostat._udp` of the terminal's domain. Making the
//! question and reading the answer is pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::debug;

use super::lease::Lease;
use crate::names;

/// The name below the domain.
const SERVICE: &str = "_heliostat._udp";
/// How long one server has for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the list of servers is gone through.
const ROUNDS: usize = 2;
const DNS_PORT: u16 = 53;
/// Longest answer without extensions of the protocol.
const MAX_ANSWER: usize = 1232;

/// Why the DNS named no broker.
#[derive(Debug, thiserror::Error)]
pub(super) enum SrvError {
    #[error("the command line and DHCP option 224 name none, and DHCP gives no domain to search")]
    NoDomain,
    #[error("DHCP gives no name server to ask for {0}")]
    NoServer(String),
    #[error("no name server answers")]
    NoAnswer,
    #[error("there is no DNS record {0}")]
    NoRecord(String),
    #[error("the name server answers {1} when asked for {0}")]
    Refused(String, ResponseCode),
    #[error("not an answer to the question")]
    Foreign,
    #[error("not a DNS message: {0}")]
    Malformed(String),
}

/// Asks the lease's name servers for the brokers of its domain, best first.
pub(super) async fn find(lease: &Lease) -> Result<Vec<String>, SrvError> {
    let domain = lease.domain.as_deref().ok_or(SrvError::NoDomain)?;
    let name = format!("{SERVICE}.{domain}.");
    if lease.name_servers.is_empty() {
        return Err(SrvError::NoServer(name));
    }
    let mut last = SrvError::NoAnswer;
    for _ in 0..ROUNDS {
        for server in &lease.name_servers {
            match ask(*server, &name).await {
                Ok(brokers) => return Ok(brokers),
                Err(error) => {
                    debug!(%server, name, %error, "brokers not found");
                    last = error;
                }
            }
        }
    }
    Err(last)
}

async fn ask(server: Ipv4Addr, name: &str) -> Result<Vec<String>, SrvError> {
    // The kernel picks a random port, and a connected socket takes answers of this server only.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .await
        .map_err(|_| SrvError::NoAnswer)?;
    let server = SocketAddr::new(IpAddr::V4(server), DNS_PORT);
    let question = Message::new(random_id(), MessageType::Query, OpCode::Query);
    let question = ask_for(question, name)?;
    let bytes = question
        .to_vec()
        .map_err(|error| SrvError::Malformed(error.to_string()))?;
    let exchange = async {
        socket.connect(server).await?;
        socket.send(&bytes).await?;
        let mut answer = [0; MAX_ANSWER];
        let len = socket.recv(&mut answer).await?;
        std::io::Result::Ok(answer[..len].to_vec())
    };
    match timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(Ok(answer)) => read_answer(&question, name, &answer),
        Ok(Err(_)) | Err(_) => Err(SrvError::NoAnswer),
    }
}

fn random_id() -> u16 {
    let mut id = [0; 2];
    // Without randomness the port alone has to make the question hard to guess.
    let _ = getrandom::fill(&mut id);
    u16::from_ne_bytes(id)
}

fn ask_for(mut message: Message, name: &str) -> Result<Message, SrvError> {
    let name = Name::from_ascii(name).map_err(|error| SrvError::Malformed(error.to_string()))?;
    message.add_query(Query::query(name, RecordType::SRV));
    message.metadata.recursion_desired = true;
    Ok(message)
}

fn read_answer(question: &Message, name: &str, bytes: &[u8]) -> Result<Vec<String>, SrvError> {
    let answer =
        Message::from_vec(bytes).map_err(|error| SrvError::Malformed(error.to_string()))?;
    let matches = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    if !matches {
        return Err(SrvError::Foreign);
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(SrvError::NoRecord(name.to_owned())),
        code => return Err(SrvError::Refused(name.to_owned(), code)),
    }
    let records = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv.clone()),
            _ => None,
        });
    let brokers = in_order(records.collect());
    if brokers.is_empty() {
        Err(SrvError::NoRecord(name.to_owned()))
    } else {
        Ok(brokers)
    }
}

/// Lowest priority first, then highest weight. A target of `.` says that there is no such service.
fn in_order(mut records: Vec<SRV>) -> Vec<String> {
    records.sort_by_key(|srv| (srv.priority, std::cmp::Reverse(srv.weight)));
    let broker = |srv: &SRV| {
        let target = srv.target.to_ascii();
        let target = target.strip_suffix('.').unwrap_or(&target);
        let sound = srv.port != 0 && !target.is_empty() && names::is_host(target);
        sound.then(|| format!("{target}:{}", srv.port))
    };
    records
        .iter()
        .filter_map(broker)
        .take(names::MAX_BROKERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "_heliostat._udp.desk.example.";

    fn question() -> Message {
        ask_for(Message::new(7, MessageType::Query, OpCode::Query), NAME).unwrap()
    }

    fn answer(records: &[(u16, u16, u16, &str)]) -> Message {
        let mut answer =
            ask_for(Message::new(7, MessageType::Response, OpCode::Query), NAME).unwrap();
        for (priority, weight, port, target) in records {
            let srv = SRV::new(*priority, *weight, *port, Name::from_ascii(target).unwrap());
            let name = Name::from_ascii(NAME).unwrap();
            answer
                .answers
                .push(Record::from_rdata(name, 60, RData::SRV(srv)));
        }
        answer
    }

    fn read(answer: &Message) -> Result<Vec<String>, SrvError> {
        read_answer(&question(), NAME, &answer.to_vec().unwrap())
    }

    #[test]
    fn brokers_come_by_priority_then_weight() {
        let records = [
            (20, 0, 4460, "c.example."),
            (10, 1, 4460, "b.example."),
            (10, 5, 4461, "a.example."),
            (10, 9, 0, "zero.example."),
            (0, 9, 4460, "."),
        ];
        let brokers = read(&answer(&records)).unwrap();
        assert_eq!(
            brokers,
            ["a.example:4461", "b.example:4460", "c.example:4460"]
        );
    }

    #[test]
    fn an_answer_to_another_question_is_not_taken() {
        let mut other = answer(&[(1, 1, 4460, "a.example.")]);
        other.metadata.id = 8;
        assert!(matches!(read(&other), Err(SrvError::Foreign)));
        let mut echo = answer(&[]);
        echo.metadata.message_type = MessageType::Query;
        assert!(matches!(read(&echo), Err(SrvError::Foreign)));
    }

    #[test]
    fn a_missing_record_is_told_by_its_name() {
        let mut none = answer(&[]);
        none.metadata.response_code = ResponseCode::NXDomain;
        assert!(read(&none).unwrap_err().to_string().contains(NAME));
        assert!(matches!(read(&answer(&[])), Err(SrvError::NoRecord(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_answer(&question(), NAME, &bytes);
        }

        #[test]
        fn no_flipped_byte_makes_it_panic(at in 0usize..80, value in any::<u8>()) {
            let mut bytes = answer(&[(1, 1, 4460, "a.example.")]).to_vec().unwrap();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = read_answer(&question(), NAME, &bytes);
        }
    }
}
