//! What a request changes: the same commands that an officer could give one by one, judged one after the other and recorded
//! together.

use truc_directory::Usage;

use crate::command::{Command, NewNode};
use crate::decide::Desk;
use crate::error::{GovernanceError as Refusal, RequestRefusal};
use crate::event::Event;
use crate::filed::GrantedCertificate;
use crate::request::{Ask, NamedSubsystem, Request};

impl Desk<'_> {
    /// The events of a request, each judged after those before it. Certificates that have not come yet are left out, so that
    /// a request can be judged before an approval.
    pub(crate) fn effects(
        &self,
        request: &Request,
        granted: &[GrantedCertificate],
    ) -> Result<Vec<Event>, Refusal> {
        let mut state = self.state.clone();
        let mut events = Vec::new();
        for command in self.commands(request, granted)? {
            let desk = Desk { state: &state, ..*self };
            let event = desk.decide(command)?;
            state.apply(&event, self.now, self.actor).map_err(Refusal::Invalid)?;
            events.push(event);
        }
        Ok(events)
    }

    fn commands(&self, request: &Request, granted: &[GrantedCertificate]) -> Result<Vec<Command>, Refusal> {
        let node = request.node.clone();
        let mut commands = match &request.ask {
            Ask::EnrolNode { address, log_key, versions, members, .. } => {
                let subsystems = || members.iter().flat_map(|member| &member.subsystems);
                let mut commands: Vec<Command> = subsystems().filter_map(|s| self.added(s)).collect();
                commands.push(Command::RegisterNode(NewNode {
                    id: node,
                    address: address.clone(),
                    log_key: *log_key,
                    versions: versions.clone(),
                    serves: subsystems().map(|s| s.id.clone()).collect(),
                }));
                commands
            }
            Ask::RegisterSubsystem { subsystem, .. } => {
                let mut commands: Vec<Command> = self.added(subsystem).into_iter().collect();
                commands.push(Command::Serve { node, subsystem: subsystem.id.clone() });
                commands
            }
            Ask::DisableSubsystem { subsystem } => vec![Command::DisableSubsystem { id: subsystem.clone() }],
            Ask::EnableSubsystem { subsystem } => vec![Command::EnableSubsystem { id: subsystem.clone() }],
            Ask::DeleteSubsystem { subsystem } => {
                let mut commands = vec![Command::StopServing { node, subsystem: subsystem.clone() }];
                if self.state.nodes_serving(subsystem) <= 1 {
                    commands.push(Command::RemoveSubsystem { id: subsystem.clone() });
                }
                commands
            }
            Ask::DeleteCertificate { fingerprint } => {
                let only = self.state.node(&node).is_some_and(|n| n.auth_certificates == [*fingerprint]);
                if only {
                    return Err(RequestRefusal::NotItsOwn {
                        node,
                        what: "its only auth certificate: register a new one first".into(),
                    }
                    .into());
                }
                vec![Command::RevokeCertificate { fingerprint: *fingerprint }]
            }
            Ask::ChangeAddress { address } => vec![Command::MoveNode { node, address: address.clone() }],
            Ask::ChangeOwner { to, .. } => vec![Command::ChangeOwner { node, to: to.clone() }],
            Ask::MaintenanceOn { message } => {
                vec![Command::SetMaintenance { node, message: Some(message.clone()) }]
            }
            Ask::MaintenanceOff {} => vec![Command::SetMaintenance { node, message: None }],
            Ask::RegisterAuthCertificate { .. } | Ask::RenewKeys { .. } => vec![],
        };
        for one in granted {
            commands.push(registration(one)?);
        }
        Ok(commands)
    }

    fn added(&self, subsystem: &NamedSubsystem) -> Option<Command> {
        let known = self.state.has_subsystem(&subsystem.id);
        (!known).then(|| Command::AddSubsystem { id: subsystem.id.clone(), name: subsystem.name.clone() })
    }
}

fn registration(granted: &GrantedCertificate) -> Result<Command, Refusal> {
    let certificate = granted.certificate.clone();
    let odd = |e: truc_model::InvalidId| Refusal::Invalid(e.to_string());
    Ok(match granted.usage {
        Usage::Auth => {
            Command::RegisterAuthCertificate { node: granted.holder.parse().map_err(odd)?, certificate }
        }
        Usage::Sign => {
            Command::RegisterSignCertificate { member: granted.holder.parse().map_err(odd)?, certificate }
        }
    })
}
