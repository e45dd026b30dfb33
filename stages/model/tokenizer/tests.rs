//! What a tokenizer adds, what it leaves out, and where turns end.

use serde_json::{Value, json};

use super::*;

/// A trained tokenizer with changes to its files.
fn changed(settings: &Value, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let trained = Tokenizer::tiny().unwrap();
    let mut json: Value = serde_json::from_str(trained.json()).unwrap();
    change(&mut json);
    let template = Template(settings["chat_template"].as_str().unwrap_or("").to_owned());
    Tokenizer::from_parts(json.to_string(), template, settings.clone()).unwrap()
}

/// `<|user|> text <|end|>`, as if they were Llama's `<s>` and T5's `</s>`.
fn surrounding(json: &mut Value) {
    let special = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    json["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": USER, "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": END, "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {USER: special(USER, 0), END: special(END, 2)},
    });
}

#[test]
fn a_base_model_gets_the_first_token_that_its_tokenizer_adds_and_no_last_one() {
    let question = [Message { role: Role::User, content: "1+2".into() }];
    let base = changed(&json!({}), surrounding);
    assert_eq!(base.prompt_tokens(&question).unwrap(), [&[0][..], &base.encode("1+2\n\n")].concat());
    assert_eq!(base.encode("1+2"), Tokenizer::tiny().unwrap().encode("1+2"), "text within is left alone");
    // A template writes its own.
    let chat = changed(&json!({"chat_template": "<|user|>{{ messages[0].content }}"}), surrounding);
    assert_eq!(chat.prompt_tokens(&question).unwrap(), chat.encode("<|user|>1+2"));
}

#[test]
fn added_tokens_without_an_embedding_are_text_and_tokens_of_the_vocabulary_an_error() {
    let size = Tokenizer::tiny().unwrap().vocab_size();
    let image = |json: &mut Value| {
        let mut token = json["added_tokens"][0].clone();
        (token["id"], token["content"]) = (json!(size), json!("<image>"));
        json["added_tokens"].as_array_mut().unwrap().push(token);
    };
    let wide = changed(&json!({}), image);
    assert_eq!(wide.encode("<image>"), [size as u32]);
    let bounded = wide.within(size).unwrap();
    let ids = bounded.encode("<image>");
    assert!(ids.len() > 1 && ids.iter().all(|id| (*id as usize) < size), "{ids:?}");
    assert_eq!(bounded.decode(&ids), "<image>");
    let error = Tokenizer::tiny().unwrap().within(size - 1).err().unwrap();
    assert!(
        error.contains(&format!("has id {}, but config.json says vocab_size {}", size - 1, size - 1)),
        "{error}"
    );
}

#[test]
fn a_turn_ends_with_the_token_that_the_template_writes() {
    let template = "{% for m in messages %}<|user|>{{ m.content }}<|assistant|>\n{% endfor %}";
    let tokenizer = changed(&json!({"chat_template": template, "eos_token": {"content": END}}), |_| {});
    let [turn, end] = ["<|assistant|>", END].map(|token| tokenizer.encode(token)[0]);
    assert_eq!(tokenizer.eos(), Some(end));
    assert_eq!(tokenizer.end_of_turn(&[end, turn]), Some(turn));
    assert_eq!(tokenizer.end_of_turn(&[end]), None, "what is no end does not end a turn");
    assert_eq!(Tokenizer::tiny().unwrap().end_of_turn(&[2]), Some(2));
}

/// Templates that behave as those that families publish, each with the prompt of [`TURNS`] that they give,
/// and the end of a turn.
const FAMILIES: [(&str, &str, &str, &str); 5] = [
    (
        "llama3",
        "{{- bos_token }}{%- if strftime_now is defined %}{%- set date = strftime_now('%d %b %Y') %}{%- endif %}\
         {%- if messages[0]['role'] == 'system' %}{%- set rules = messages[0]['content'] | trim %}\
         {%- set messages = messages[1:] %}{%- else %}{%- set rules = '' %}{%- endif %}\
         {{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date + '\\n\\n' + rules + '<|eot_id|>' }}\
         {%- for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim \
         + '<|eot_id|>' }}{%- endfor %}{%- if add_generation_prompt %}\
         {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}",
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n\
         2<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    (
        "qwen",
        "{%- for m in messages %}\n{%- if loop.first and m.role != 'system' %}\n\
         {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}\n{%- endif %}\n\
         {{- '<|im_start|>' + m.role + '\\n' + m.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>' + '\\n' }}\n\
         {%- endfor %}\n{%- if add_generation_prompt %}\n{{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n\
         <|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    (
        "smollm3",
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ '<|im_start|>assistant\\n' + \
         m.content + '<|im_end|>\\n' }}{% endgeneration %}{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + \
         '<|im_end|>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}\
         {% endif %}",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n\
         <|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
    ),
    (
        "gemma3",
        "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\\n\\n' -%}\
         {%- set loop_messages = messages[1:] -%}{%- else -%}{%- set first = '' -%}\
         {%- set loop_messages = messages -%}{%- endif -%}{%- for m in loop_messages -%}\
         {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles must alternate') }}\
         {%- endif -%}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + \
         (first if loop.first else '') + m.content | trim + '<end_of_turn>\\n' }}{%- endfor -%}\
         {%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}",
        "<s><start_of_turn>user\nBe brief.\n\n1+1?<end_of_turn>\n<start_of_turn>model\n2<end_of_turn>\n\
         <start_of_turn>user\n2+2?<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>",
    ),
    (
        "mistral",
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}\
         {% elif m.role == 'system' %}{{ '[SYSTEM_PROMPT] ' + m.content + '[/SYSTEM_PROMPT]' }}{% else %}\
         {{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
        "<s>[SYSTEM_PROMPT] Be brief.[/SYSTEM_PROMPT][INST] 1+1? [/INST] 2</s>[INST] 2+2? [/INST]",
        "</s>",
    ),
];

const TURNS: [(Role, &str); 4] =
    [(Role::System, "Be brief."), (Role::User, "1+1?"), (Role::Assistant, "2"), (Role::User, "2+2?")];

#[test]
fn prompts_are_those_of_each_family_and_each_extends_the_one_before() {
    for (family, template, expected, end) in FAMILIES {
        let names = json!({"chat_template": template, "bos_token": "<s>", "eos_token": "</s>"});
        let tokenizer = changed(&names, |json| {
            let token = json["added_tokens"][0].clone();
            for (at, content) in
                ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<s>", "</s>"].iter().enumerate()
            {
                let mut token = token.clone();
                (token["id"], token["content"]) = (json!(280 + at), json!(content));
                json["added_tokens"].as_array_mut().unwrap().push(token);
            }
        });
        let turns = TURNS.map(|(role, content)| Message { role, content: content.into() });
        let prompt = |turns: &[Message]| tokenizer.prompt(turns).unwrap();
        assert_eq!(prompt(&turns), expected, "{family}");
        // The answer and its end come between a turn's prompt and the next.
        let (first, second) = (prompt(&turns[..2]), prompt(&turns));
        let begun = second.strip_prefix(&first).unwrap_or_else(|| panic!("{family}: {first:?}"));
        assert!(begun.trim_start().starts_with(&format!("2{end}")), "{family}: {begun:?}");
        let end = tokenizer.encode(end)[0];
        let all: Vec<u32> = (0..400).collect();
        assert_eq!(tokenizer.end_of_turn(&all), Some(end), "{family}");
        // A row's tokens up to its answer are its prompt; those of an answer give it back.
        let row = tokenizer.prompt_tokens(&turns[..2]).unwrap();
        assert_eq!(row, tokenizer.encode(&first), "{family}");
        let answer = [tokenizer.encode("1 + 1 = 2\n#### 2"), vec![end]].concat();
        assert_eq!(tokenizer.decode(&answer), "1 + 1 = 2\n#### 2", "{family}");
    }
}
