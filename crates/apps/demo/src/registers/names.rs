//! Vietnamese names as the population register splits them (Ho, ChuDem, Ten), and the match key.

use super::citizen::Sex;
use super::rng::Rng;

/// The names of one people and sex. `dem[0]` is always empty: no middle name.
struct List {
    ho: &'static [&'static str],
    dem: &'static [&'static str],
    ten: &'static [&'static str],
}

/// A people (dân tộc) with its names.
struct Group {
    /// Code in the list of 54 peoples.
    code: u8,
    /// Of a thousand households.
    per_mille: u32,
    /// Ê-đê names put the clan last; the register splits by position all the same.
    clan_last: bool,
    male: List,
    female: List,
}

/// A name as places in the tables above: four bytes and the sex instead of three texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    group: u8,
    sex: Sex,
    ho: u8,
    dem: u8,
    ten: u8,
}

const KINH_HO: &[&str] = &[
    "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn", "Nguyễn",
    "Trần", "Trần", "Trần", "Lê", "Lê", "Lê", "Phạm", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng",
    "Bùi", "Đỗ", "Hồ", "Ngô", "Dương", "Lý", "Đinh", "Đoàn", "Trịnh", "Mai",
];
const TAY_HO: &[&str] = &["Nông", "Hoàng", "Lý", "Triệu", "Lương", "Vi", "Bế", "Ma", "Đàm", "Lục"];
const THAI_HO: &[&str] = &["Lò", "Quàng", "Cà", "Tòng", "Lường", "Hà", "Cầm", "Bạc"];
const MUONG_HO: &[&str] = &["Bùi", "Đinh", "Quách", "Bạch", "Hà"];
const KHMER_HO: &[&str] = &["Thạch", "Sơn", "Kim", "Danh", "Châu", "Lâm"];
const HMONG_HO: &[&str] = &["Giàng", "Vàng", "Sùng", "Mùa", "Thào", "Lầu", "Vừ", "Hạng"];
const DAO_HO: &[&str] = &["Bàn", "Triệu", "Đặng", "Phùng", "Chảo", "Tẩn"];
const GIARAI_HO: &[&str] = &["Rơ Châm", "Ksor", "Siu", "Nay", "Rơ Mah", "Kpă"];
const CHAM_HO: &[&str] = &["Thập", "Quảng", "Báo", "Đàng", "Hán", "Từ"];
const EDE_CLAN: &[&str] = &["Niê", "Êban", "Mlô", "Bkrông", "Ayŭn", "Kbuôr", "Niê Kđăm"];

const KINH_M: List = List {
    ho: KINH_HO,
    dem: &[
        "", "Văn", "Đức", "Minh", "Quang", "Hữu", "Công", "Đình", "Xuân", "Thanh", "Ngọc", "Gia", "Bảo",
        "Quốc",
    ],
    ten: &[
        "Anh", "Bình", "Cường", "Dũng", "Đạt", "Đức", "Hải", "Hiếu", "Hoàng", "Hùng", "Huy", "Khánh", "Khoa",
        "Kiên", "Lâm", "Long", "Minh", "Nam", "Nghĩa", "Phong", "Phúc", "Quân", "Quang", "Sơn", "Tài",
        "Thắng", "Thành", "Thịnh", "Tiến", "Toàn", "Trung", "Tú", "Tuấn", "Tùng", "Việt", "Vinh",
    ],
};
const KINH_F: List = List {
    ho: KINH_HO,
    dem: &[
        "",
        "Thị",
        "Thị",
        "Thị Minh",
        "Thị Thu",
        "Thị Ngọc",
        "Thị Thanh",
        "Thị Kim",
        "Thị Bích",
        "Ngọc",
        "Phương",
        "Thu",
        "Khánh",
        "Bảo",
        "Quỳnh",
    ],
    ten: &[
        "Anh", "Bích", "Chi", "Diệp", "Dung", "Duyên", "Đào", "Giang", "Hà", "Hạnh", "Hằng", "Hiền", "Hoa",
        "Hồng", "Huệ", "Hương", "Lan", "Linh", "Loan", "Ly", "Mai", "Nga", "Ngân", "Ngọc", "Nhung", "Oanh",
        "Phương", "Quyên", "Tâm", "Thảo", "Thủy", "Trang", "Tuyết", "Uyên", "Vân", "Xuân", "Yến",
    ],
};

const fn list(
    ho: &'static [&'static str],
    dem: &'static [&'static str],
    ten: &'static [&'static str],
) -> List {
    List { ho, dem, ten }
}

const fn group(code: u8, per_mille: u32, male: List, female: List) -> Group {
    Group { code, per_mille, clan_last: false, male, female }
}

const GROUPS: &[Group] = &[
    group(1, 800, KINH_M, KINH_F),
    group(
        2,
        35,
        list(TAY_HO, &["", "Văn", "Đức", "Quốc"], &["Páo", "Thụy", "Sơn", "Cường", "Tuyên", "Lưu"]),
        list(TAY_HO, &["", "Thị", "Thúy", "Bích"], &["Nguyệt", "Lả", "Thơm", "Huệ", "Đào", "Ngần"]),
    ),
    group(
        3,
        35,
        list(THAI_HO, &["", "Văn"], &["Pản", "Hặc", "Xuân", "Ún", "Thưởng", "Biên"]),
        list(THAI_HO, &["", "Thị"], &["Ín", "Pâng", "Ban", "Hặc", "Yêu", "Lả"]),
    ),
    group(
        5,
        30,
        list(KHMER_HO, &["", "Sóc", "Sa", "Chanh"], &["Kha", "Rây", "Thươl", "Phết", "Đa", "Sarươl"]),
        list(KHMER_HO, &["", "Thị", "Thị Sa"], &["Rượng", "Bopha", "Đen", "Ry", "Phel", "Sóc"]),
    ),
    group(
        6,
        25,
        list(MUONG_HO, &["", "Văn", "Công"], &["Ỉn", "Khuyên", "Tiến", "Thiện", "Đức"]),
        list(MUONG_HO, &["", "Thị"], &["Ển", "Nhàn", "Xuyến", "Thơ", "Dậu"]),
    ),
    group(
        8,
        25,
        list(HMONG_HO, &["", "A", "Seo", "Mí"], &["Páo", "Chứ", "Sình", "Lử", "Dế", "Chớ"]),
        list(HMONG_HO, &["", "Thị"], &["Mỷ", "Máy", "Dở", "Sua", "Pà", "Chư"]),
    ),
    group(
        9,
        15,
        list(DAO_HO, &["", "Văn", "Láo", "Tòn"], &["Sử", "Vảng", "Chiêu", "Phin", "Quẩy"]),
        list(DAO_HO, &["", "Thị", "Mùi", "Tả"], &["Mẩy", "Pham", "Nái", "Coi", "Liều"]),
    ),
    group(
        10,
        15,
        list(GIARAI_HO, &[""], &["Phước", "Der", "Thuyên", "Bơng", "Hlơi", "Krông"]),
        list(GIARAI_HO, &[""], &["H'Nhung", "H'Bia", "H'Lan", "H'Oanh", "H'Yơ", "H'Bơ"]),
    ),
    Group {
        code: 12,
        per_mille: 12,
        clan_last: true,
        male: list(&["Y"], &["", "Bhăm", "Thon", "Wing", "Krŏng", "Ñuê", "Blĭ"], EDE_CLAN),
        female: list(&["H'Hen", "H'Wiŏh", "H'Bluôn", "H'Yer", "H'Ñač"], &["", "Ly", "Mai"], EDE_CLAN),
    },
    group(
        17,
        8,
        list(CHAM_HO, &["", "Văn", "Minh"], &["Trận", "Liêm", "Tải", "Xuyến", "Sanh"]),
        list(CHAM_HO, &["", "Thị", "Nữ"], &["Diễm", "Phan", "Ngưn", "Luyện", "Hà"]),
    ),
    // Last, never drawn by chance: the long name that breaks narrow columns.
    group(
        10,
        0,
        list(&["Rơ Châm"], &["", "Đăm San Krông Pa Ayun Hạ Chư Prông Ia Grai Yă Pơ"], &["Thuyên"]),
        list(&["Rơ Châm"], &["", "H'Bơ Lan Krông Ana Ayun Pa Chư Sê Ia Ly Yă Pơ"], &["H'Nguyệt"]),
    ),
];

const KINH: u8 = 0;

impl Name {
    fn table(group: u8, sex: Sex) -> &'static List {
        let group = GROUPS.get(usize::from(group)).unwrap_or(&GROUPS[0]);
        match sex {
            Sex::Male => &group.male,
            Sex::Female => &group.female,
        }
    }

    fn list(self) -> &'static List {
        Self::table(self.group, self.sex)
    }

    /// A people drawn by its share of the households.
    pub(super) fn draw_group(rng: &mut Rng) -> u8 {
        let mut left = rng.below(1000);
        for (place, group) in (0_u8..).zip(GROUPS) {
            if left < group.per_mille {
                return place;
            }
            left -= group.per_mille;
        }
        KINH
    }

    /// A name drawn from the people's lists; two in a hundred have no middle name.
    pub(super) fn draw(rng: &mut Rng, group: u8, sex: Sex) -> Self {
        let list = Self::table(group, sex);
        let place = |rng: &mut Rng, of: &[&str]| rng.below(of.len() as u32) as u8;
        let (ho, ten) = (place(rng, list.ho), place(rng, list.ten));
        let dem = if list.dem.len() == 1 || rng.chance(20) { 0 } else { 1 + place(rng, &list.dem[1..]) };
        Self { group, sex, ho, dem, ten }
    }

    /// The long name of the edge cases.
    pub(super) const fn long(sex: Sex) -> Self {
        Self { group: (GROUPS.len() - 1) as u8, sex, ho: 0, dem: 1, ten: 0 }
    }

    /// A Kinh name by its parts; a part that is not in the lists becomes the list's first.
    pub(super) fn kinh(sex: Sex, ho: &str, dem: &str, ten: &str) -> Self {
        let list = Self::table(KINH, sex);
        let place = |of: &[&str], part| of.iter().position(|p| *p == part).unwrap_or(0) as u8;
        Self {
            group: KINH,
            sex,
            ho: place(list.ho, ho),
            dem: place(list.dem, dem),
            ten: place(list.ten, ten),
        }
    }

    /// This name with the family name of `parent` (with the clan, where the clan stands last).
    pub(super) fn child_of(mut self, parent: Self) -> Self {
        if self.group == parent.group {
            if GROUPS[usize::from(self.group)].clan_last {
                self.ten = parent.ten;
            } else {
                self.ho = parent.ho;
            }
        }
        self
    }

    /// This name without its middle name.
    pub(super) const fn without_middle(mut self) -> Self {
        self.dem = 0;
        self
    }

    /// Family name, as the register's field `Ho`.
    pub fn ho(self) -> &'static str {
        self.list().ho.get(usize::from(self.ho)).copied().unwrap_or_default()
    }
    /// Middle name, `ChuDem`; empty when there is none.
    pub fn chu_dem(self) -> &'static str {
        self.list().dem.get(usize::from(self.dem)).copied().unwrap_or_default()
    }
    /// Given name, `Ten`.
    pub fn ten(self) -> &'static str {
        self.list().ten.get(usize::from(self.ten)).copied().unwrap_or_default()
    }
    /// Code 1–54 of the people (dân tộc); Kinh is 1.
    pub fn ethnicity(self) -> u8 {
        GROUPS.get(usize::from(self.group)).map_or(1, |g| g.code)
    }
    /// The whole name as it is written: `Nguyễn Thị Minh Anh`.
    pub fn display(self) -> String {
        let parts = [self.ho(), self.chu_dem(), self.ten()];
        parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" ")
    }
    /// The name as callers must send it: [`match_key`] of [`Name::display`].
    pub fn key(self) -> String {
        [self.ho(), self.chu_dem(), self.ten()].map(match_key).concat()
    }
}

/// Upper-case ASCII letters without marks or spaces, as QCVN 109:2017 callers send names:
/// `Nguyễn Thị Minh Anh` → `NGUYENTHIMINHANH`. Đ becomes D before marks are stripped, because it
/// is a letter of its own that no decomposition reaches. What is no letter falls out.
pub fn match_key(name: &str) -> String {
    name.chars().flat_map(char::to_lowercase).filter_map(plain_letter).collect()
}

fn plain_letter(c: char) -> Option<char> {
    Some(match c {
        'đ' | 'ð' | 'ɖ' => 'D',
        'a'..='z' => c.to_ascii_uppercase(),
        'à' | 'á' | 'ả' | 'ã' | 'ạ' | 'ă' | 'ằ' | 'ắ' | 'ẳ' | 'ẵ' | 'ặ' | 'â' | 'ầ' | 'ấ' | 'ẩ' | 'ẫ'
        | 'ậ' => 'A',
        'è' | 'é' | 'ẻ' | 'ẽ' | 'ẹ' | 'ê' | 'ề' | 'ế' | 'ể' | 'ễ' | 'ệ' | 'ĕ' => 'E',
        'ì' | 'í' | 'ỉ' | 'ĩ' | 'ị' | 'ĭ' => 'I',
        'ò' | 'ó' | 'ỏ' | 'õ' | 'ọ' | 'ô' | 'ồ' | 'ố' | 'ổ' | 'ỗ' | 'ộ' | 'ơ' | 'ờ' | 'ớ' | 'ở' | 'ỡ'
        | 'ợ' | 'ŏ' => 'O',
        'ù' | 'ú' | 'ủ' | 'ũ' | 'ụ' | 'ư' | 'ừ' | 'ứ' | 'ử' | 'ữ' | 'ự' | 'ŭ' => 'U',
        'ỳ' | 'ý' | 'ỷ' | 'ỹ' | 'ỵ' => 'Y',
        'č' => 'C',
        'ñ' => 'N',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_match_key_has_neither_marks_nor_spaces() {
        assert_eq!(match_key("Nguyễn Thị Minh Anh"), "NGUYENTHIMINHANH");
        assert_eq!(match_key("ĐẶNG ĐÌNH ĐỨC"), "DANGDINHDUC");
        assert_eq!(match_key("H'Wiŏh Niê Kđăm"), "HWIOHNIEKDAM");
        // The same name in decomposed form: letters followed by combining marks.
        assert_eq!(match_key("Nguye\u{302}\u{303}n Thi\u{323} Đa\u{300}o"), "NGUYENTHIDAO");
        assert_eq!(match_key("  "), "");
    }

    #[test]
    fn every_listed_name_has_a_plain_key() {
        for group in GROUPS {
            for list in [&group.male, &group.female] {
                assert_eq!(list.dem[0], "");
                for part in list.ho.iter().chain(&list.dem[1..]).chain(list.ten) {
                    let letters = part.chars().filter(|c| c.is_alphabetic()).count();
                    assert_eq!(match_key(part).len(), letters, "{part}");
                }
            }
        }
    }

    #[test]
    fn shares_make_a_whole() {
        assert_eq!(GROUPS.iter().map(|g| g.per_mille).sum::<u32>(), 1000);
    }

    #[test]
    fn children_carry_the_family_or_clan_name() {
        let mut rng = Rng::of(1, 1, 1);
        let father = Name::draw(&mut rng, KINH, Sex::Male);
        assert_eq!(Name::draw(&mut rng, KINH, Sex::Female).child_of(father).ho(), father.ho());
        let mother = Name::draw(&mut rng, 8, Sex::Female);
        assert_eq!(Name::draw(&mut rng, 8, Sex::Male).child_of(mother).ten(), mother.ten());
    }
}
