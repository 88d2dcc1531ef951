//! Templates of URLs: `{name}`, `{ext}` and any label's name in braces, replaced literally (spec, image discovery).

use crate::types::ImageName;

/// A template with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The URL.
    pub url: String,
    /// Whether the version was missing, and `latest` stands for it.
    pub latest: bool,
}

/// Fills a template in. `None` where it has a variable that nothing is known for: such a template is not for this image.
///
/// What is filled in is not looked at again, so that a value with braces stays as it is.
pub fn render(template: &str, name: &ImageName, extension: &str) -> Option<Rendering> {
    let mut url = String::with_capacity(template.len() + 64);
    let mut latest = false;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((variable, behind)) = after.split_once('}') else { break };
        url.push_str(before);
        let label = name.labels.get(variable);
        match variable {
            "name" => url.push_str(name.name.as_str()),
            "ext" => url.push_str(extension),
            "version" if label.is_none_or(str::is_empty) => {
                latest = true;
                url.push_str("latest");
            }
            _ => url.push_str(label?),
        }
        rest = behind;
    }
    url.push_str(rest);
    Some(Rendering { url, latest })
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-353, APPC-356
    #[test]
    fn variables_are_replaced_once_and_literally() {
        let table = [
            ("https://x/{name}-{version}-{os}-{arch}.{ext}", "https://x/example.com/a-1.0-linux-amd64.aci"),
            ("https://x/{name}.{ext}?a={version}&b={version}", "https://x/example.com/a.aci?a=1.0&b=1.0"),
            ("https://x/{odd}.{ext}", "https://x/{name}.aci"),
            ("https://x/plain", "https://x/plain"),
            ("https://x/open{name", "https://x/open{name"),
            ("https://x/}{ext}", "https://x/}aci"),
            ("", ""),
        ];
        let name: ImageName = "example.com/a:1.0,os=linux,arch=amd64,odd={name}".parse().unwrap();
        for (template, want) in table {
            assert_eq!(render(template, &name, "aci").unwrap().url, want, "{template}");
        }
    }

    // APPC-353
    #[test]
    fn unknown_variables_discard_the_template() {
        let name: ImageName = "example.com/a:1.0".parse().unwrap();
        for template in ["{os}", "a{}b", "{ name }", "{{name}}", "{Name}"] {
            assert_eq!(render(template, &name, "aci"), None, "{template}");
        }
    }

    // APPC-354
    #[test]
    fn a_missing_version_is_the_latest() {
        for name in ["example.com/a", "example.com/a:"] {
            let rendering = render("{version}", &name.parse().unwrap(), "aci").unwrap();
            assert_eq!(rendering, Rendering { url: "latest".to_owned(), latest: true }, "{name}");
        }
    }
}
