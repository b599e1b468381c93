package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTerminal_EscapesAllButItsOwnControls(t *testing.T) {
	for in, want := range map[string]string{
		"order:42": "order:42", "ключ": "ключ", "a\x1b[2Jb": `a\x1b[2Jb`, "two\nlines": "two\nlines", "\xff": `\xff`, "a\"b\x00": `a"b\x00`,
		"\u202egnirts": `\u202egnirts`, "\u009b": `\u009b`, control("[K"): "\x1b[K", "\x00[K\x00": `\x00[K\x00`,
	} {
		var b strings.Builder
		if _, err := (&terminal{w: &b}).Write([]byte(in)); err != nil || b.String() != want {
			t.Errorf("%q is printed as %q, want %q", in, b.String(), want)
		}
	}
	var b strings.Builder
	doc, _ := json.Marshal(evil + "\U000e0001")
	if err := (&terminal{w: &b}).writeJSON(string(doc)); err != nil {
		t.Fatal(err)
	}
	var back, want string
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || json.Unmarshal(doc, &want) != nil || back != want {
		t.Errorf("%v: %q came back as %q", err, want, back)
	}
	if !utf8.ValidString(b.String()) || strings.ContainsFunc(b.String(), func(r rune) bool { return !unicode.IsGraphic(r) }) {
		t.Errorf("JSON: %q", b.String())
	}
}

// Untrusted text cannot affect the terminal.
func TestTerminal_EscapesWhatOthersWrote(t *testing.T) {
	for in, want := range map[string]string{
		"order:42": "order:42", "ключ": "ключ", "a\x1b[2Jb": `a\x1b[2Jb`, "two\nlines": `two\nlines`, "\xff": `\xff`, "a\"b\x00": `a"b\x00`,
		"\u202egnirts": `\u202egnirts`,
	} {
		if got := shown(in); got != want {
			t.Errorf("shown(%q) = %s, want %s", in, got, want)
		}
	}
	if got := short("абвгд", 4); got != "абв…" {
		t.Error(got)
	}
}
