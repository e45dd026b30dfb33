//! Words of scripts other than the Latin one behind a number: units, multipliers and plain counters. Any
//! other word may change the number (`72以上`, `72分之一`), so it is none that may be dropped.

/// A word or the beginning of one, and the words of the table of units that it stands for.
const UNITS: &[(&[&str], &[&str])] = &[
    (&["毫米", "밀리미터", "мм"], &["mm"]),
    (&["厘米", "公分", "センチメートル", "センチ", "센티미터", "см"], &["cm"]),
    (&["分米", "дм"], &["dm"]),
    (&["千米", "公里", "キロメートル", "킬로미터", "км"], &["km"]),
    (&["米", "メートル", "미터", "м", "метр", "метра", "метров"], &["meter"]),
    (&["平方毫米"], &["square", "mm"]),
    (&["平方厘米", "平方公分", "平方センチメートル", "제곱센티미터"], &["square", "cm"]),
    (&["平方分米"], &["square", "dm"]),
    (&["平方千米", "平方公里", "平方キロメートル", "제곱킬로미터"], &["square", "km"]),
    (&["平方米", "平方メートル", "제곱미터"], &["square", "meter"]),
    (&["立方毫米"], &["cubic", "mm"]),
    (&["立方厘米", "立方センチメートル", "세제곱센티미터"], &["cubic", "cm"]),
    (&["立方分米"], &["cubic", "dm"]),
    (&["立方米", "立方メートル", "세제곱미터"], &["cubic", "meter"]),
    (&["毫克", "мг"], &["mg"]),
    (&["千克", "公斤", "キログラム", "キロ", "킬로그램", "кг"], &["kg"]),
    (&["克", "グラム", "그램", "г", "грамм", "граммов"], &["gram"]),
    (&["吨", "噸", "トン", "톤", "тонн", "тонна", "тонны"], &["tonne"]),
    (&["毫升", "ミリリットル", "밀리리터", "мл"], &["ml"]),
    (&["升", "リットル", "리터", "литр", "литра", "литров"], &["liter"]),
    (&["小时", "小時", "时", "時間", "시간", "час", "часа", "часов"], &["hour"]),
    (&["分钟", "分鐘", "分間", "分", "분", "мин", "минут", "минута", "минуты"], &["minute"]),
    (&["秒钟", "秒鐘", "秒間", "秒", "초", "секунд", "секунда", "секунды"], &["second"]),
    (&["天", "日間", "日", "일", "день", "дня", "дней"], &["day"]),
    (&["个星期", "星期", "周", "週間", "주", "недель", "неделя", "недели"], &["week"]),
    (&["个月", "個月", "か月", "ヶ月", "개월", "месяц", "месяца", "месяцев"], &["month"]),
    (&["年", "년", "год", "года", "лет"], &["year"]),
    (&["人民币", "元钱", "元", "块钱", "块"], &["yuan"]),
    (&["角"], &["jiao"]),
    (&["美元", "ドル", "달러", "долларов", "доллара", "доллар"], &["dollar"]),
    (&["美分"], &["cent"]),
    (&["欧元", "ユーロ", "유로", "евро"], &["euro"]),
    (&["日元", "円"], &["yen"]),
    (&["卢比"], &["rupee"]),
    (&["度", "도"], &["degree"]),
    (&["摄氏度"], &["degree", "celsius"]),
    (&["每", "毎"], &["per"]),
    (&["百", "백"], &["hundred"]),
    (&["千", "천", "тыс", "тысяч", "тысячи", "тысяча"], &["thousand"]),
    (&["万", "萬", "만"], &["万"]),
    (&["亿", "億", "억"], &["亿"]),
    (&["млн", "миллион", "миллиона", "миллионов"], &["million"]),
    (&["млрд", "миллиард", "миллиарда", "миллиардов"], &["billion"]),
    (&["трлн"], &["trillion"]),
];

/// Words that say what is counted, and leave the number as it is.
const COUNTERS: &[&str] = &[
    "个",
    "個",
    "个人",
    "人",
    "名",
    "位",
    "只",
    "隻",
    "匹",
    "头",
    "頭",
    "本",
    "枚",
    "冊",
    "册",
    "台",
    "辆",
    "輛",
    "条",
    "條",
    "张",
    "張",
    "件",
    "块",
    "颗",
    "顆",
    "粒",
    "支",
    "枝",
    "朵",
    "棵",
    "株",
    "岁",
    "歳",
    "歲",
    "次",
    "回",
    "遍",
    "种",
    "種",
    "種類",
    "种类",
    "组",
    "組",
    "对",
    "双",
    "足",
    "杯",
    "瓶",
    "箱",
    "盒",
    "袋",
    "包",
    "页",
    "頁",
    "ページ",
    "题",
    "題",
    "道",
    "步",
    "歩",
    "层",
    "階",
    "行",
    "列",
    "排",
    "户",
    "家",
    "间",
    "間",
    "座",
    "艘",
    "架",
    "点",
    "つ",
    "こ",
    "羽",
    "통",
    "명",
    "개",
    "마리",
    "권",
    "대",
    "살",
    "번",
    "장",
    "병",
    "송이",
    "그루",
    "자루",
    "원",
    "점",
    "가지",
    "명의",
    "사람",
    "千瓦",
    "千瓦时",
    "瓦",
    "伏",
    "赫兹",
    "千卡",
    "千焦",
    "牛",
    "帕",
    "通り",
    "セット",
    "グループ",
    "学生",
    "号",
    "班",
    "人次",
    "倍",
    "배",
    "口",
    "根",
    "句",
    "字",
    "单位",
    "个单位",
    "平方单位",
    "立方单位",
    "名学生",
    "个学生",
    "種方法",
    "种方法",
    "种不同的方法",
    "个苹果",
    "руб",
    "рублей",
    "рубля",
    "рубль",
    "человек",
    "человека",
    "штук",
    "шт",
    "яблок",
    "раз",
    "раза",
    "способов",
];

/// The longest word that a run of letters begins with: its length in characters, and the words of the table
/// of units, or none for a counter. Words of alphabets are whole runs.
pub(super) fn begins(run: &str) -> Option<(usize, &'static [&'static str])> {
    let spaced = run.starts_with(|c: char| c < '\u{2e80}');
    let fits = |word: &str| if spaced { run == word } else { run.starts_with(word) };
    let units = UNITS.iter().flat_map(|(words, stand_for)| words.iter().map(move |word| (*word, *stand_for)));
    let counters = COUNTERS.iter().map(|word| (*word, &[][..]));
    let found = units.chain(counters).filter(|(word, _)| fits(word)).max_by_key(|(word, _)| word.len())?;
    Some((found.0.chars().count(), found.1))
}

/// Whether a word of another script may be dropped.
pub(super) fn is_counter(word: &str) -> bool {
    COUNTERS.contains(&word)
}

/// Letters of the Latin script, with all their marks.
pub(super) fn is_latin(c: char) -> bool {
    c.is_ascii()
        || matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{300}'..='\u{36f}' | 'ª' | 'º')
}

/// Words of Chinese, Japanese and Korean that deny, estimate or bound a number, or suppose it.
const DOUBTS: [&str; 56] = [
    "不",
    "没",
    "沒",
    "非",
    "无",
    "無",
    "约",
    "約",
    "大约",
    "至少",
    "至多",
    "最多",
    "最少",
    "超过",
    "超過",
    "以上",
    "以下",
    "少于",
    "多于",
    "大于",
    "小于",
    "接近",
    "几乎",
    "左右",
    "一半",
    "两倍",
    "余",
    "第",
    "若",
    "如果",
    "假设",
    "分之",
    "除以",
    "ない",
    "ません",
    "ほど",
    "くらい",
    "ぐらい",
    "より",
    "未満",
    "超え",
    "半分",
    "もし",
    "아니",
    "약 ",
    "이상",
    "이하",
    "미만",
    "초과",
    "보다",
    "거의",
    "정도",
    "않",
    "절반",
    "만약",
    "番目",
];
/// How sentences end behind a number.
pub(super) const ENDS: [&str; 9] =
    ["です", "だ", "である", "になる", "となる", "入", "입니다", "이다", "예요"];

fn is_east(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// The number of the last clause of a Chinese, Japanese or Korean sentence, with its unit, if that has one
/// number and claims it: `所以一共卖了72个夹子。`
pub(super) fn claimed<'a>(sentence: &'a str, is_readable: &dyn Fn(&str) -> bool) -> Option<&'a str> {
    if !sentence.contains(is_east) {
        return None;
    }
    let mut clauses =
        sentence.split(['，', '；', '。', '：', ';']).filter(|clause| !clause.trim().is_empty());
    let clause = clauses.next_back()?.trim();
    let digit = |c: char| c.is_ascii_digit();
    let from = clause.find(digit)?;
    let number = clause[from..].trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
    let to = clause[..clause.len() - number.len()].trim_end_matches(['.', ',']).len();
    let (before, rest) = (&clause[..from], clause[to..].trim_start_matches([' ', '.']));
    let signed = before.ends_with(['-', '−', '/', '=', '+', '*', '×', '^', '~', '(', '\\', '$', '<', '>']);
    if signed || rest.contains(digit) || DOUBTS.iter().any(|word| clause.contains(word)) {
        return None;
    }
    if before.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let units = clause[to..].char_indices().map(|(at, c)| to + at + c.len_utf8()).take(7);
    let unit = units.filter(|end| is_readable(&clause[from..*end])).last();
    if let Some(end) = unit {
        return Some(&clause[from..end]);
    }
    let ends = rest.is_empty() || !rest.starts_with(is_east) || ENDS.iter().any(|end| rest.starts_with(end));
    (ends
        && !rest.starts_with(|c: char| c.is_alphanumeric() && !is_east(c))
        && is_readable(&clause[from..to]))
    .then(|| &clause[from..to])
}
