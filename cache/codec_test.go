package cache

import (
	"encoding/json"
	"testing"
)

func FuzzJSONReadsAStringAsEncodingJSONDoes(f *testing.F) {
	for _, data := range []string{
		`"plain ~"`, `""`, `"`, ``, `"a`, `a"`, `"a"b"`, `"a\"`, `"a\n\u0041"`, `"\"`, "\"a\nb\"", "\"\x00\"", "\"\x7f\"", "\"\xff\"", `"é"`, "\"\u2028\"",
		` "a"`, `"a" `, `"a""b"`, `null`, `1`, `{"a":1}`, `["a"]`, `'a'`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, want := "before", "before"
		gotErr, wantErr := JSON[string]{}.Decode(data, &got), json.Unmarshal(data, &want)
		if got != want || (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%q is read as %q, %v; by encoding/json as %q, %v", data, got, gotErr, want, wantErr)
		}
	})
}
