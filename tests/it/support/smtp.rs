//! A small mail server without TLS. It answers each command by a closure, or as a server does that takes everything.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Headers and text.
    pub(crate) text: String,
}

/// A server on a free port of 127.0.0.1. It ends with the test's runtime.
pub(crate) struct MailServer {
    address: String,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl MailServer {
    /// `answer` gets each command; `None`: the command is taken.
    pub(crate) async fn start(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mails, answer) = (Arc::<Mutex<Vec<Mail>>>::default(), Arc::new(answer));
        let taken = mails.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (taken, answer) = (taken.clone(), answer.clone());
                // A client that leaves is no fault of the server.
                tokio::spawn(async move { serve(stream, &*answer, &taken).await.unwrap_or_default() });
            }
        });
        Self { address, mails }
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        &self.address
    }

    /// All mails so far.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(&str) -> Option<String> + Send + Sync),
    mails: &Mutex<Vec<Mail>>,
) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 mail.test\r\n").await?;
    let mut mail = Mail::default();
    while let Some(line) = lines.next_line().await? {
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let taken = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-mail.test\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 taken",
        };
        let own = answer(&line);
        let is_taken = own.is_none();
        writer.write_all(format!("{}\r\n", own.as_deref().unwrap_or(taken)).as_bytes()).await?;
        match &line[..4.min(line.len())] {
            "MAIL" if is_taken => mail = Mail { from: address(), ..Mail::default() },
            "RCPT" if is_taken => mail.to.push(address()),
            "DATA" if is_taken => {
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    mail.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    mail.text.push('\n');
                }
                mails.lock().unwrap().push(std::mem::take(&mut mail));
                writer.write_all(b"250 2.0.0 queued as 42\r\n").await?;
            }
            "QUIT" => break,
            _ => {}
        }
    }
    Ok(())
}
