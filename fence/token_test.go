package fence_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/fence"
)

func TestToken_StringIsReadBack(t *testing.T) {
	var all []fence.Token
	var texts []string
	for i, key := range oddKeys() {
		token := fence.Token{Key: key, Number: int64(fence.MaxToken - 1 - i), Shared: i%2 == 1}
		all, texts = append(all, token), append(texts, token.String())
	}
	for _, values := range [][]string{texts, {strings.Join(texts, ",")}, {strings.Join(texts, " ,\t ")}} {
		if got, err := fence.ParseTokens(values...); err != nil || !slices.Equal(got, all) {
			t.Errorf("got %q, %v, want %q", got, err, all)
		}
	}
	for shared, want := range map[bool]string{false: "order:42%20%C3%BC;17", true: "order:42%20%C3%BC;17;shared"} {
		if got := (fence.Token{Key: "order:42 ü", Number: 17, Shared: shared}).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestParseTokens_RefusesEveryOtherForm(t *testing.T) {
	if all, err := fence.ParseTokens(); len(all) != 0 || err != nil {
		t.Errorf("no values: %v, %v", all, err)
	}
	many := make([]string, 65)
	for i := range many {
		many[i] = fence.Token{Key: strings.Repeat("k", i+1), Number: 1}.String()
	}
	if _, err := fence.ParseTokens(many[:64]...); err != nil {
		t.Errorf("64 tokens: %v", err)
	}
	for text, want := range map[string]string{
		"": "want KEY;TOKEN", ",": "want", "a;1,": "want", "k": "want", ";1": "key", "k;": "whole number", "k;0": "whole number",
		"k;-1": "whole number", "k;+1": "whole number", "k;01": "whole number", "k;9007199254740992": "below 2^53",
		"k;99999999999999999999": "whole number", "k;1;2": "whole number", "k;shared": "whole number", "k;;shared": "whole number", "k;1;shared;shared": "whole number",
		"k;1;Shared": "whole number", "k;1; shared": "whole number", "k;1;shared,k;1": "twice", "k; 1": "whole number", "k k;1": "%XX", "k%;1": "%XX", "k%4;1": "%XX",
		"k%zz;1": "%XX", "k%c3;1": "%XX", "%41;1": "%XX", "\x00;1": "%XX", `"k";1`: "%XX", "k;1,k;2": "twice", "k;1,k;1": "twice",
		strings.Join(many, ","): "more than 64",
	} {
		all, err := fence.ParseTokens(text)
		if !errors.Is(err, fence.ErrMalformed) || !strings.Contains(err.Error(), want) || all != nil {
			t.Errorf("%.60q: %v, %v, want an error with %q", text, all, err, want)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%.60q: the error has %d bytes", text, len(err.Error()))
		}
	}
}

// What is read is written again as the same text, so nothing has two forms.
func FuzzParseTokens(f *testing.F) {
	for _, text := range []string{"order:42;17", "a;1, b%20c;2", "%FF;9007199254740991", "a;1,,b;2", "%;1", "k;01", "%41;1", "k;1;shared"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := fence.ParseTokens(text)
		if err != nil {
			if !errors.Is(err, fence.ErrMalformed) || all != nil {
				t.Errorf("%v, %v", all, err)
			}
			return
		}
		var texts []string
		for _, token := range all {
			if token.Key == "" || token.Number <= 0 || token.Number >= fence.MaxToken {
				t.Errorf("read %+v", token)
			}
			texts = append(texts, token.String())
		}
		bare := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' }), "")
		if got := strings.Join(texts, ","); got != bare {
			t.Errorf("%q is written as %q", text, got)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("order:42", int64(17), false)
	f.Add("\xff,;%41", int64(fence.MaxToken-1), true)
	f.Fuzz(func(t *testing.T, key string, number int64, shared bool) {
		want := fence.Token{Key: key, Number: number, Shared: shared}
		all, err := fence.ParseTokens(want.String())
		if possible := key != "" && number > 0 && number < fence.MaxToken; possible != (err == nil) {
			t.Fatalf("%+v: %v", want, err)
		}
		if err == nil && (len(all) != 1 || all[0] != want) {
			t.Errorf("%+v came back as %+v", want, all)
		}
	})
}
