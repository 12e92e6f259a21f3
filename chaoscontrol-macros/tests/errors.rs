//! What the attribute says about mistakes. `TRYBUILD=overwrite` writes new expectations.

#[test]
fn mistakes_are_explained_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
