use super::*;

const EXAMPLE: &str = include_str!("../../../../../deploy/node.toml");

fn parse(text: &str) -> Result<NodeConfig, ConfigErrors> {
    NodeConfig::parse(text, Path::new("/etc/truc/node.toml"))
}

fn problems(text: &str) -> Vec<String> {
    parse(text).unwrap_err().mistakes.iter().map(ToString::to_string).collect()
}

const SHORT: &str = "config-version = 1\nnode = 'VN/GOV/H26/ss1'\n[[member]]\nid = 'VN/GOV/H26'\n";

#[test]
fn three_keys_are_enough_and_the_example_explains_the_rest() {
    let short = parse(SHORT).unwrap();
    assert_eq!(short.data_folder, Path::new("/etc/truc/data"));
    assert_eq!(short.members[0].sign_key.as_str(), "sign-VN-GOV-H26");
    assert_eq!(short.peer, PeerSettings { listen: ([127, 0, 0, 1], 5500).into(), max_exchanges: 1000 });
    assert_eq!(short.trust.status_grace, Duration::from_secs(12 * 3600));

    let example = parse(EXAMPLE).unwrap();
    assert_eq!(example.members.len(), 2);
    assert_eq!(example.admin.tokens[1].role, Role::Auditor);
    assert_eq!(example.edge.https.as_ref().unwrap().listen, ([0, 0, 0, 0], 8443).into());
    let files = vec![PathBuf::from("/etc/truc/certs/mot-cua-so-1.pem")];
    assert_eq!(example.clients[0].connection, ClientConnection::HttpsClientCertificate(files));
    assert_eq!((short.edge.https, short.clients.len()), (None, 0));
}

/// What the example shows in comments as defaults are the defaults: it means the same with the comments taken away.
#[test]
fn the_defaults_that_the_example_tells_are_true() {
    let is_default = |line: &&str| {
        let key = line.strip_prefix("# ").and_then(|l| l.split_once(" = ")).map(|(key, _)| key);
        key.is_some_and(|k| k.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    };
    let with: String =
        EXAMPLE.lines().map(|l| format!("{}\n", if is_default(&l) { &l[2..] } else { l })).collect();
    assert!(EXAMPLE.lines().filter(is_default).count() >= 8, "the example shows defaults in comments");
    assert_eq!(parse(&with).unwrap(), parse(EXAMPLE).unwrap());
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_what_to_write() {
    let text = "
config-version = 2
node = 'VN/GOV/H26'
colour = 'red'
[auth]
key = 'a b'
[log]
key = 5
[peer]
listen = 'here'
max-exchanges = 0
[edge]
listen = '0.0.0.0:8080'
max-body = '16 MB'
[admin]
listen = '10.0.0.1:4000'
[[admin.token]]
name = 'o p s'
role = 'king'
token = 'secret'
[trust]
status-freshness = '1 hour'
status-fetch-interval = '2h'
[[member]]
id = 'VN/GOV/H26'
subsystems = ['mot cua']
[[member]]
id = 'VN/GOV/H26'
sign-key = 'sign-VN-GOV-H26'
[[member]]
subsystems = 'x'
";
    let problems = problems(text);
    let expected = [
        ("config-version: ", "write config-version = 1"),
        ("node: ", "node = \"VN/GOV/H26/ss1\""),
        ("colour: ", "known are config-version, node"),
        ("auth.key: ", "write key = \"auth\""),
        ("log.key: ", "text in quotes"),
        ("peer.listen: ", "listen = \"127.0.0.1:5500\""),
        ("peer.max-exchanges: ", "from 1 to 100000"),
        ("edge.listen: ", "allow-plain-http-from-network = true"),
        ("edge.max-body: ", "\"16 GiB\""),
        ("admin.listen: ", "allow-network = true"),
        ("admin.token[1].name: ", "write 1 to 64 characters"),
        ("admin.token[1].role: ", "role = \"administrator\""),
        ("admin.token[1].token-file: ", "token-file = \"admin-token\""),
        ("admin.token[1].token: ", "known are name, role, member, token-file"),
        ("trust.status-freshness: ", "like \"1h\""),
        ("trust.status-fetch-interval: ", "shorter than status-freshness"),
        ("member[1].subsystems: ", "write only the last part"),
        ("member[2].id: ", "stands here twice"),
        ("member[3].id: ", "id = \"VN/GOV/H26\""),
        ("member[3].subsystems: ", "list of texts like [\"mot-cua-so-1\""),
    ];
    for (key, write) in expected {
        assert!(
            problems.iter().any(|p| p.starts_with(key) && p.contains(write)),
            "{key} {write}\n{problems:#?}"
        );
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    assert!(!problems.iter().any(|p| p.contains("secret")), "a value under an unknown key is not repeated");
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (extra, told) in [
        ("[edge]\nlisten = '127.0.0.1:5500'", "is also peer.listen"),
        ("[auth]\nkey = 'log'", "every use has a key of its own"),
        ("[[member]]\nid = 'VN/GOV/H49'\nsign-key = 'sign-VN-GOV-H26'", "used elsewhere too"),
        ("[[member]]\nid = 'EE/GOV/H49'", "one instance"),
        ("subsystems = ['a', 'a']", "named twice"),
        ("[trust]\nstatus-grace = '10m'", "shorter than status-freshness"),
        ("[auth", "this is not TOML"),
    ] {
        let problems = problems(&format!("{SHORT}{extra}\n"));
        assert!(problems.len() == 1 && problems[0].contains(told), "{extra}: {problems:#?}");
    }
    assert!(problems("config-version = 1\nnode = 'VN/GOV/H26/ss1'")[0].contains("at least one [[member]]"));
    assert!(parse(&format!("{SHORT}[edge]\nlisten = '127.0.0.1:0'\n[peer]\nlisten = '127.0.0.1:0'")).is_ok());
}

#[test]
fn connections_that_cannot_be_are_refused() {
    let https = "[edge]\nhttps-listen = '127.0.0.1:8443'\ncertificate-file = 'c.pem'\nkey-file = 'k.pem'\n";
    let client = |rest: &str| format!("{https}[[client]]\nsubsystem = 'VN/GOV/H26/a'\n{rest}\n");
    for (extra, told) in [
        ("[edge]\nlisten = 'off'".to_owned(), "nobody could call"),
        ("[edge]\nlisten = 'off'\nhttps-listen = 'off'".to_owned(), "nobody could call"),
        (
            "[edge]\nhttps-listen = '127.0.0.1:8443'\nkey-file = 'k.pem'".to_owned(),
            "edge.certificate-file: is missing",
        ),
        ("[edge]\nkey-file = 'k.pem'".to_owned(), "is for HTTPS, which is off"),
        (format!("{https}listen = '127.0.0.1:8443'"), "is also edge.listen"),
        (client("connection = 'http'\ncertificate-files = ['x.pem']"), "leave it out"),
        (client("connection = 'https-client-certificate'"), "names no file"),
        (client("connection = 'mtls'"), "is not a connection"),
        (client(""), "client[1].connection: is missing"),
        (
            client("connection = 'https'\n[[client]]\nsubsystem = 'VN/GOV/H26/a'\nconnection = 'http'"),
            "stands here twice",
        ),
        (
            format!("{https}[[client]]\nsubsystem = 'VN/GOV/H26/b'\nconnection = 'https'"),
            "is not a subsystem of a [[member]]",
        ),
        ("[[client]]\nsubsystem = 'VN/GOV/H26/a'\nconnection = 'https'".to_owned(), "needs HTTPS"),
    ] {
        let problems = problems(&format!("{SHORT}subsystems = ['a']\n{extra}\n"));
        assert!(problems.len() == 1 && problems[0].contains(told), "{extra}: {problems:#?}");
    }
    let text = format!("{SHORT}subsystems = ['a']\n{}listen = 'off'\n", https);
    let config = parse(&text).unwrap();
    assert_eq!(config.edge.listen, None);
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
}

#[test]
fn slips_are_answered_with_what_was_meant() {
    for (extra, told) in [
        ("[edge]\nmax-body = 16", "edge.max-body: must be a text with a unit; write max-body = \"16 GiB\""),
        (
            "[trust]\nstatus-grace = 12",
            "trust.status-grace: must be a text with a unit; write status-grace = \"12h\"",
        ),
        ("[edge]\nmax_body = '1 MiB'", "edge.max_body: is not a known key here; did you mean max-body?"),
        ("[edge]\nlistn = '127.0.0.1:1'", "did you mean listen?"),
        ("[peers]\nlisten = '127.0.0.1:1'", "peers: is not a known key here; did you mean [peer]?"),
        ("[trust]\nstatus-fetch-intervall = '1m'", "did you mean status-fetch-interval?"),
    ] {
        let problems = problems(&format!("{SHORT}{extra}\n"));
        assert!(problems.len() == 1 && problems[0].contains(told), "{extra}: {problems:#?}");
    }
    assert!(!problems(&format!("{SHORT}[edge]\ncolour = 1\n"))[0].contains("did you mean"));
}

#[test]
fn what_is_written_is_read_back() {
    for text in [SHORT, EXAMPLE] {
        let config = parse(text).unwrap();
        assert_eq!(parse(&config.to_toml()).unwrap(), config, "{}", config.to_toml());
    }
    let member: MemberId = "VN/GOV/H26".parse().unwrap();
    let subsystem = member.subsystem("mot-cua-so-1").unwrap();
    let node = member.node("ss1").unwrap();
    let path = Path::new("/etc/truc/node.toml");
    let draft = NodeConfig::draft(path, &node, &[(member, vec![subsystem.clone()])]).unwrap();
    assert_eq!(draft.members[0].subsystems, [subsystem]);
    assert!(NodeConfig::draft(path, &node, &[]).is_err());
}

#[test]
fn a_missing_file_says_so() {
    let error = NodeConfig::load(Path::new("/nowhere/node.toml")).unwrap_err();
    assert!(error.to_string().contains("--config"), "{error}");
}

mod files {
    use std::os::unix::fs::PermissionsExt as _;

    use truc_keys::KeyKind;
    use truc_keystores::{FileKeyStore, Passphrase};
    use truc_model::Timestamp;

    use super::*;

    #[test]
    fn everything_missing_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        let text = format!(
            "{SHORT}[provider]\nca-file = 'ca.pem'\n[[admin.token]]\nname = 'ops'\nrole = 'administrator'\ntoken-file = 'admin-token'\n"
        );
        let error = NodeConfig::parse(&text, &path).unwrap().check(Timestamp::from_millis(0)).unwrap_err();
        for key in [
            "anchor-file",
            "passphrase-file",
            "auth.certificate-file",
            "sign-certificate-file",
            "ca-file",
            "token-file",
        ] {
            assert!(error.mistakes.iter().any(|m| m.key.contains(key)), "{key}: {error}");
        }
        assert_eq!(error.mistakes.len(), 6, "{error}");
    }

    #[test]
    fn files_of_the_edge_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "{SHORT}subsystems = ['a']\n[edge]\nhttps-listen = '127.0.0.1:0'\ncertificate-file = 'edge.pem'\nkey-file = 'edge.key'\n\
             [[client]]\nsubsystem = 'VN/GOV/H26/a'\nconnection = 'https-client-certificate'\ncertificate-files = ['a.pem', 'b.pem']\n"
        );
        let config = NodeConfig::parse(&text, &dir.path().join("node.toml")).unwrap();
        let told = |config: &NodeConfig| {
            let now = Timestamp::from_millis(1_790_000_000_000);
            let mistakes = config.check(now).unwrap_err().mistakes;
            let of_the_edge = |key: &str| key.starts_with("edge.") || key.starts_with("client ");
            mistakes.iter().filter(|m| of_the_edge(&m.key)).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&config).len(), 4, "{:?}", told(&config));
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("edge.pem", &pair.cert.pem());
        write("edge.key", &pair.signing_key.serialize_pem());
        write("a.pem", &pair.cert.pem());
        write("b.pem", "no pem");
        std::fs::set_permissions(dir.path().join("edge.key"), std::fs::Permissions::from_mode(0o644))
            .unwrap();
        let mistakes = told(&config);
        assert!(
            mistakes.len() == 2 && mistakes[0].contains("chmod 600") && mistakes[1].contains("b.pem"),
            "{mistakes:?}"
        );
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        write("edge.key", &other.signing_key.serialize_pem());
        std::fs::set_permissions(dir.path().join("edge.key"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
        write("b.pem", &other.cert.pem());
        let mistakes = told(&config);
        assert!(mistakes.len() == 1 && mistakes[0].contains("cannot be used together"), "{mistakes:?}");
    }

    #[test]
    fn wrong_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        let config = NodeConfig::parse(
            &format!(
                "{SHORT}[[admin.token]]\nname = 'ops'\nrole = 'administrator'\ntoken-file = 'admin-token'\n"
            ),
            &path,
        )
        .unwrap();
        let passphrase = Passphrase::from_file_or_create(&config.passphrase_file).unwrap();
        for (key, kind) in [(&config.auth.key, KeyKind::EcP256), (&config.log_key, KeyKind::EcP256)] {
            FileKeyStore::generate(&config.key_folder(), &passphrase, key, kind).unwrap();
        }
        std::fs::write(dir.path().join("admin-token"), "short").unwrap();
        std::fs::set_permissions(dir.path().join("admin-token"), std::fs::Permissions::from_mode(0o644))
            .unwrap();
        std::fs::write(&config.anchor_file, "{}").unwrap();
        std::fs::create_dir(dir.path().join("certs")).unwrap();
        std::fs::write(
            &config.auth.certificate_file,
            include_str!("../../../../domain/trust/tests/golden/ca.pem"),
        )
        .unwrap();
        std::fs::write(&config.members[0].sign_certificate_file, "no pem").unwrap();
        let error = config.check(Timestamp::from_millis(0)).unwrap_err();
        for told in [
            "anchor-file: ",
            "no key named sign-VN-GOV-H26",
            "must be an Ed25519 key",
            "is valid from",
            "commonName is",
            "organizationIdentifier is",
            "not for TLS server and client",
            "is not for the key auth",
            "at least one certificate in PEM",
            "chmod 600",
            "fewer than 32 characters",
        ] {
            assert!(error.to_string().contains(told), "{told}: {error}");
        }
        assert_eq!(error.mistakes.len(), 11, "{error}");
    }
}

#[test]
fn time_stamping_has_an_order_and_a_grace() {
    let default = parse(SHORT).unwrap().time_stamping;
    assert_eq!(default.authorities, Vec::<String>::new());
    assert_eq!((default.every.as_secs(), default.grace.unwrap().as_secs()), (60, 48 * 3600));
    let said =
        "[time-stamping]\nauthorities = ['TSA 2', 'Ban Cơ yếu \"TSA\"']\nevery = '5s'\ngrace = 'off'\n";
    let config = parse(&format!("{SHORT}{said}")).unwrap();
    assert_eq!(config.time_stamping.authorities, ["TSA 2", "Ban Cơ yếu \"TSA\""]);
    assert_eq!((config.time_stamping.every.as_secs(), config.time_stamping.grace), (5, None));
    assert_eq!(parse(&config.to_toml()).unwrap().time_stamping, config.time_stamping);
    for (mistake, words) in [
        ("authorities = ['A', 'A']", "named twice"),
        ("authorities = ['']", "is empty"),
        ("authorities = 'A'", "a list of texts"),
        ("every = '11m'", "out of bounds"),
        ("every = 'off'", "not understood"),
        ("grace = '9m'", "out of bounds"),
        ("url = 'x'", "known are authorities, every, grace"),
    ] {
        let problems = problems(&format!("{SHORT}[time-stamping]\n{mistake}\n"));
        assert!(problems.iter().any(|problem| problem.contains(words)), "{mistake}: {problems:#?}");
    }
}

#[test]
fn health_has_a_door_of_its_own_only_when_it_is_given_one() {
    assert_eq!(parse(SHORT).unwrap().health.listen, None);
    assert_eq!(parse(&format!("{SHORT}[health]\nlisten = 'off'\n")).unwrap().health.listen, None);
    let config = parse(&format!("{SHORT}[health]\nlisten = '0.0.0.0:4005'\n")).unwrap();
    assert_eq!(config.health.listen, Some(([0, 0, 0, 0], 4005).into()));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    for (extra, told) in [
        ("[health]\nlisten = 'here'", "health.listen: "),
        ("[health]\nlisten = '127.0.0.1:4000'", "is also admin.listen"),
        ("[health]\nport = 1", "known are listen"),
    ] {
        let problems = problems(&format!("{SHORT}{extra}\n"));
        assert!(problems.len() == 1 && problems[0].contains(told), "{extra}: {problems:#?}");
    }
}

#[test]
fn a_token_may_be_limited_to_a_hosted_member_and_to_no_other() {
    let token = |rest: &str| {
        format!("{SHORT}[[admin.token]]\nname = 'a'\nrole = 'auditor'\ntoken-file = 't'\n{rest}\n")
    };
    let config = parse(&token("member = 'VN/GOV/H26'")).unwrap();
    assert_eq!(config.admin.tokens[0].member, Some("VN/GOV/H26".parse().unwrap()));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    assert_eq!(parse(&token("")).unwrap().admin.tokens[0].member, None);
    for (rest, told) in [
        ("member = 'VN/GOV/H49'", "VN/GOV/H49 is not a [[member]] of this node"),
        ("member = 'H26'", "is not understood"),
        ("member = 3", "must be a text"),
    ] {
        let problems = problems(&token(rest));
        assert!(problems.len() == 1 && problems[0].contains(told), "{rest}: {problems:#?}");
    }
}

#[test]
fn successors_get_rights_by_themselves_only_when_the_file_says_so() {
    assert_eq!(parse(SHORT).unwrap().policy.succession, SuccessionPolicy::Ask);
    let config = parse(&format!("{SHORT}[policy]\nsuccession = 'automatic'\n")).unwrap();
    assert_eq!(config.policy.succession, SuccessionPolicy::Automatic);
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    let problems = problems(&format!("{SHORT}[policy]\nsuccession = 'yes'\n"));
    assert!(problems.len() == 1 && problems[0].contains("policy.succession: "), "{problems:#?}");
}

#[test]
fn what_the_consumers_half_keeps_is_said_in_the_file() {
    let short = parse(SHORT).unwrap().evidence;
    assert_eq!((short.consumer_bodies, short.consumer_retention.as_str()), (Bodies::Full, "default"));
    let said = format!("{SHORT}[evidence]\nconsumer-bodies = 'digest'\nconsumer-retention = 'ngan-han'\n");
    let config = parse(&said).unwrap();
    assert_eq!(config.evidence.consumer_bodies, Bodies::Digest);
    assert_eq!(config.evidence.consumer_retention.as_str(), "ngan-han");
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
    let problems =
        problems(&format!("{SHORT}[evidence]\nconsumer-bodies = 'none'\nconsumer-retention = '10 Y'\n"));
    assert!(problems.len() == 2 && problems[0].contains("write full or digest"), "{problems:#?}");
    assert!(
        problems[1].contains("evidence.consumer-retention: ") && problems[1].contains("a-z"),
        "{problems:#?}"
    );
}

/// Evidence keys are named by their member, and two members of one node never share one.
#[test]
fn members_whose_evidence_keys_would_have_one_name_are_refused() {
    let member = |id: &str, key: &str| format!("[[member]]\nid = '{id}'\nsign-key = '{key}'\n");
    let both = format!("{SHORT}{}{}", member("VN/GOV/A-B", "a"), member("VN/GOV/A.2d.B", "b"));
    let problems = problems(&both);
    assert!(problems.len() == 1, "{problems:#?}");
    assert!(problems[0].contains("VN/GOV/A-B and VN/GOV/A.2d.B") && problems[0].contains("another node"));
    let apart = format!("{SHORT}{}{}", member("VN/GOV/A-B", "a"), member("VN/GOV/A.B", "b"));
    assert_eq!(parse(&apart).unwrap().members.len(), 3);
}

#[test]
fn keeping_is_said_in_the_file() {
    let short = parse(SHORT).unwrap().evidence.keeping;
    assert_eq!(short, KeepingSettings::default());
    let space = "alarm-free = '5%'\nrefuse-free = '1 GiB'\n";
    let classes = "[[evidence.retention]]\nclass = 'default'\nbodies = '10y'\n[[evidence.retention]]\nclass = 'ngan'\nbodies = '90d'\n";
    let bucket = "[evidence.archive]\nendpoint = 'https://s3.vn'\nbucket = 'b'\nprefix = 'h26/ss1'\naccess-key-file = 'a'\nsecret-key-file = 's'\nca-file = 'ca.pem'\n";
    for archive in [bucket, "[evidence.archive]\nfolder = '/mnt/kho'\n"] {
        let config = parse(&format!("{SHORT}[evidence]\n{space}{classes}{archive}")).unwrap();
        let keeping = &config.evidence.keeping;
        assert_eq!((keeping.retention.len(), keeping.refuse_free), (2, 1 << 30));
        assert!(keeping.archive.is_some());
        assert_eq!(parse(&config.to_toml()).unwrap().evidence, config.evidence);
    }
    for (mistake, words) in [
        ("alarm-free = 'x'", "10%"),
        ("refuse-free = 'x'", "256 MiB"),
        ("[[evidence.retention]]\nclass = 'A'\nbodies = '10'", "10y"),
        (
            "[[evidence.retention]]\nclass = 'a'\nbodies = '1y'\n[[evidence.retention]]\nclass = 'a'\nbodies = '2y'",
            "twice",
        ),
        ("[evidence.archive]\nbucket = 'b'", "endpoint"),
        ("[evidence.archive]\nfolder = 'a'\nbucket = 'b'", "does not go with folder"),
        (
            "[evidence.archive]\nendpoint = 'https://s3.vn'\nbucket = 'b'\naccess-key-file = 'a'\nsecret-key-file = 's'",
            "ca-file",
        ),
    ] {
        let problems = problems(&format!("{SHORT}[evidence]\n{mistake}\n"));
        assert!(problems.iter().any(|problem| problem.contains(words)), "{mistake}: {problems:#?}");
    }
}
