use serde::Deserialize;
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    #[serde(default)]
    pub statements: Vec<String>,
}
impl super::Kind for Sql {
    type Action = String;
    async fn plan(&self, _cx: &super::Context) -> anyhow::Result<crate::run::Plan<String>> {
        Ok(Default::default())
    }
    fn step(&self, _: &String) -> crate::run::Step {
        todo!()
    }
    async fn apply(&self, _cx: &super::Context, _a: &String) -> anyhow::Result<super::Applied> {
        todo!()
    }
    async fn check(&self, _cx: &super::Context) -> anyhow::Result<Vec<crate::run::Finding>> {
        Ok(vec![])
    }
}
