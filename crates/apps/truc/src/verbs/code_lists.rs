//! `truc code-lists …`: versioned code lists, a service that a member offers on the bus.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use truc_model::Timestamp;
use truc_registry::{
    AGENCY_CODES_NAME, CodeLists as Lists, OPENAPI, agency_codes, read_entries, serve_code_lists,
};

use super::{blocking, clock, read};
use crate::out;
use crate::stop::Until;

/// Versioned code lists (agency codes and others), served to the bus
#[derive(Subcommand)]
#[command(
    after_help = "Example:\n  truc code-lists serve --listen 127.0.0.1:7100 --dir /var/lib/truc/code-lists"
)]
pub(crate) enum CodeLists {
    /// Serve the lists of a folder over HTTP until it is told to stop; a node offers them on the bus
    #[command(
        after_help = "Example:\n  truc code-lists serve --listen 127.0.0.1:7100 --dir /var/lib/truc/code-lists\n\nThe node of the member that keeps the lists offers them with `truc service add … --openapi http://127.0.0.1:7100/openapi.json` (docs/operate/codes.md)."
    )]
    Serve {
        /// Where it listens
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
        /// The folder with the lists
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        until: Until,
        /// Print the address it listens on as JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Publish a list, or its next version; a running server offers it at once
    #[command(
        after_help = "Example:\n  truc code-lists publish agency-codes --dir /var/lib/truc/code-lists\n  truc code-lists publish communes communes.csv --dir /var/lib/truc/code-lists --valid-from 2026-07-01T00:00:00.000Z\n\nNo code may be dropped, reopened or mean something else: close it, and name its successor."
    )]
    Publish {
        /// The list's name: a-z, 0-9 and -
        name: String,
        /// The list (CSV or a JSON array); without one, the built-in list agency-codes
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The folder with the lists
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// From when the version is the current one; now when not given
        #[arg(long, value_name = "TIME")]
        valid_from: Option<Timestamp>,
        /// A code whose entry is changed on purpose: renamed, or a mistake corrected; several may be given
        #[arg(long, value_name = "CODE")]
        amend: Vec<String>,
        /// Print what was published as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the lists of a folder with all their versions
    #[command(after_help = "Example:\n  truc code-lists list --dir /var/lib/truc/code-lists")]
    List {
        /// The folder with the lists
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Print a JSON object per version
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI description of the service
    #[command(after_help = "Example:\n  truc code-lists openapi")]
    Openapi {},
}

impl CodeLists {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Serve { listen, dir, until, json } => {
                let ready = move |address: SocketAddr| {
                    out::note(format!("the code lists are served at http://{address}/code-lists"));
                    if json && let Err(error) = out::json(&json!({ "listen": address })) {
                        out::note(error);
                    }
                };
                serve_code_lists(listen, dir, clock(), ready, until.token()?).await?;
            }
            Self::Publish { name, file, dir, valid_from, amend, json } => {
                let entries = match &file {
                    Some(file) => read_entries(&read(file).await?)?,
                    None if name == AGENCY_CODES_NAME => agency_codes()?,
                    None => bail!("name the file to publish; only {AGENCY_CODES_NAME} is built in"),
                };
                let valid_from = valid_from.unwrap_or_else(|| clock().now());
                let listed = name.clone();
                let work = move || Lists::new(dir).publish(&listed, entries, valid_from, &amend);
                let published = blocking(work).await?;
                let (new, version) = (published.new, &published.version);
                let (number, digest) = (version.document.version, version.digest);
                if json {
                    out::json(&json!({ "name": name, "version": number, "digest": digest, "new": new }))?;
                } else if new {
                    out::note(format!("published as version {number} of {name}, digest {digest}"));
                } else {
                    out::note(format!(
                        "version {number} of {name} says the same already, nothing was published"
                    ));
                }
            }
            Self::List { dir, json } => list(dir, json).await?,
            Self::Openapi {} => out::data(OPENAPI.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(dir: PathBuf, json: bool) -> anyhow::Result<()> {
    let found = blocking(move || {
        let lists = Lists::new(dir);
        let names = lists.names()?;
        names
            .into_iter()
            .map(|name| Ok((lists.versions(&name)?, name)))
            .collect::<Result<Vec<_>, truc_registry::CodeListError>>()
    });
    for (versions, name) in found.await? {
        for version in versions.iter().flat_map(|versions| versions.iter()) {
            let document = &version.document;
            let (number, from, codes) = (document.version, document.valid_from, document.codes.len());
            if json {
                out::json(
                    &json!({ "name": name, "version": number, "digest": version.digest, "validFrom": from, "codes": codes }),
                )?;
            } else {
                out::line(format!("{name}\t{number}\t{from}\t{codes}\t{}", version.digest))?;
            }
        }
    }
    Ok(())
}
