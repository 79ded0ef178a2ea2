use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> String {
    text.parse::<AgencyCode>().unwrap().to_string()
}

#[test]
fn the_documented_codes_are_read() {
    for (text, means, form) in [
        ("000.00.00.H49", "H49", CodeForm::Old),
        ("000.00.18.G12", "G12.18", CodeForm::Old),
        ("001.02.14.H29", "H29.14.02.001", CodeForm::Old),
        ("00.14.H29", "H29.14", CodeForm::OldLocal),
        ("01.14.H29", "H29.14.01", CodeForm::OldLocal),
        ("H49", "H49", CodeForm::New),
        ("G09.20", "G09.20", CodeForm::New),
        ("H55.242", "H55.242", CodeForm::New),
        ("H29.14.02", "H29.14.02", CodeForm::New),
    ] {
        let (code, read) = AgencyCode::read(text).unwrap();
        assert_eq!((code.as_str(), read), (means, form), "{text}");
    }
}

#[test]
fn other_texts_are_no_codes() {
    for text in [
        "",
        "H4",
        "h49",
        "H490",
        "H49.",
        "H49.1",
        "H49.123456",
        "H49.a1",
        ".H49",
        "49",
        "000.00.H49",
        "00.000.00.H49",
        "0.00.00.H49",
        "000.00.00.49",
        "000-00-00-H49",
        " H49",
        "H49.é1",
        "H29.14.02.11.11.11.11.11",
        "H29.11111.11111.11111.11111.11111.1111",
    ] {
        assert!(matches!(AgencyCode::read(text), Err(InvalidAgencyCode::Form(_))), "{text:?}");
    }
    for gap in ["000.14.00.H29", "001.00.14.H29", "001.00.00.H55", "001.14.00.H29", "14.00.H29"] {
        assert!(matches!(AgencyCode::read(gap), Err(InvalidAgencyCode::Gap(_))), "{gap}");
    }
}

#[test]
fn codes_without_an_old_form_are_never_converted_back() {
    for new in ["H55.242", "H29.14.021", "H29.14.02.01", "H29.14.02.001.01", "H29.AB", "H29.00", "H29.14.00"]
    {
        assert_eq!(new.parse::<AgencyCode>().unwrap().old_form(), None, "{new}");
    }
    for (new, old) in [
        ("H49", "000.00.00.H49"),
        ("G12.18", "000.00.18.G12"),
        ("H29.14.01", "000.01.14.H29"),
        ("H29.14.02.001", "001.02.14.H29"),
    ] {
        assert_eq!(new.parse::<AgencyCode>().unwrap().old_form().as_deref(), Some(old));
    }
    let deep: AgencyCode = "H29.14.02".parse().unwrap();
    assert_eq!((deep.level1(), deep.level()), ("H29", 3));
    assert_eq!(deep.parent().unwrap().as_str(), "H29.14");
    assert_eq!("H29".parse::<AgencyCode>().unwrap().parent(), None);
}

fn id(code: &str) -> MemberId {
    MemberId::new("VN", "GOV", code).unwrap()
}

/// Members H10 (closed, say), H26, H29.14 and H55.242; aliases as a table could have them.
fn resolved(given: &str) -> Result<String, UnresolvedCode> {
    let members = ["H10", "H26", "H29.14", "H55.242", "000.00.00.H77"].map(id);
    let table = [
        ("000.00.00.H10", id("H10")),
        ("242.00.00.H55", id("H55.242")),
        ("000.00.00.H77", id("H26")),
        ("000.00.00.H14", MemberId::new("VN", "COM", "x").unwrap()),
    ];
    let alias = |code: &str| table.iter().find(|(a, _)| *a == code).map(|(_, m)| m.clone());
    resolve_member(&id(given), alias, |m| members.contains(m)).map(|m| m.code().to_owned())
}

#[test]
fn the_alias_table_is_asked_before_the_rule() {
    for (given, means) in [
        ("000.00.00.H10", "H10"),
        ("000.00.00.H26", "H26"),
        ("00.14.H29", "H29.14"),
        ("000.00.14.H29", "H29.14"),
        ("242.00.00.H55", "H55.242"),
        ("H55.242", "H55.242"),
        // New-form codes and other texts are left to whoever looks them up.
        ("H99", "H99"),
        ("he-thong", "he-thong"),
    ] {
        assert_eq!(resolved(given).as_deref(), Ok(means), "{given}");
    }
}

#[test]
fn nobody_is_guessed() {
    assert!(matches!(resolved("000.00.00.H99"), Err(UnresolvedCode::Unknown { .. })));
    assert!(matches!(resolved("001.00.00.H26"), Err(UnresolvedCode::NoAlias(_))));
    assert!(matches!(resolved("000.00.00.H77"), Err(UnresolvedCode::Ambiguous { .. })));
    assert!(matches!(resolved("000.00.00.H14"), Err(UnresolvedCode::OtherClass { .. })));
    let told = resolved("000.00.00.H99").unwrap_err().to_string();
    assert!(told.contains("H99") && told.contains("QCVN 102:2016"), "{told}");
}

proptest! {
    /// Old codes without a gap come back exactly, and no two of them mean the same.
    #[test]
    fn the_rule_loses_nothing(letter in "[A-Z]", m in 0u32..100, y in 0u32..100, z in 0u32..100, v in 0u32..1000) {
        let old = format!("{v:03}.{z:02}.{y:02}.{letter}{m:02}");
        let gap = (y == 0 && z != 0) || (z == 0 && v != 0);
        match AgencyCode::read(&old) {
            Ok((code, form)) => {
                prop_assert!(!gap);
                prop_assert_eq!(form, CodeForm::Old);
                prop_assert_eq!(code.old_form(), Some(old));
                if v == 0 {
                    let local = format!("{z:02}.{y:02}.{letter}{m:02}");
                    prop_assert_eq!(AgencyCode::read(&local), Ok((code, CodeForm::OldLocal)));
                }
            }
            Err(refused) => {
                prop_assert!(gap);
                prop_assert_eq!(refused, InvalidAgencyCode::Gap(old));
            }
        }
    }

    /// The canonical form is read as itself, and an old form that is given out leads back.
    #[test]
    fn the_canonical_form_stays(text in "[A-Z][0-9]{2}(\\.[0-9A-Z]{2,5}){0,6}") {
        prop_assume!(text.len() <= AGENCY_CODE_LIMIT);
        let code: AgencyCode = text.parse().unwrap();
        prop_assert_eq!(code.as_str(), &text);
        prop_assert_eq!(canonical(code.as_str()), text);
        if let Some(old) = code.old_form() {
            prop_assert_eq!(canonical(&old), code.to_string());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
        if let Ok((code, _)) = AgencyCode::read(&text) {
            let again = AgencyCode::read(code.as_str());
            prop_assert_eq!(again, Ok((code, CodeForm::New)));
        }
    }
}
