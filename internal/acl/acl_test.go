package acl

import (
	"path"
	"testing"
)

func TestEscapeGlob_MatchesTheTextAlone(t *testing.T) {
	for _, text := range []string{"cache:", `a*b`, `a?b`, `[ab]`, `a\b`, `\*`} {
		pattern := EscapeGlob(text)
		if ok, err := path.Match(pattern, text); !ok || err != nil {
			t.Errorf("%q does not match %q: %v", pattern, text, err)
		}
	}
	for text, other := range map[string]string{`a*b`: "axb", `a?b`: "axb", `[ab]`: "a"} {
		if ok, _ := path.Match(EscapeGlob(text), other); ok {
			t.Errorf("the pattern of %q matches %q", text, other)
		}
	}
}

func TestJoin_LeavesOptionalRightsOut(t *testing.T) {
	rights := []right{{Rule: "~a*"}, {Rule: "+info", Optional: true}, {Rule: "+get"}}
	if got := Join(rights, false); got != "~a* +info +get" {
		t.Errorf("all: %q", got)
	}
	if got := Join(rights, true); got != "~a* +get" {
		t.Errorf("required: %q", got)
	}
}
