package exactjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/exactjson"
)

func TestMarshal_RefusesWhatJSONWouldChange(t *testing.T) {
	for _, v := range []any{"a\xff", []string{"\xc3\x28"}, map[string]int{"\xff": 1}, struct{ A any }{"\xed\xa0\x80"}} {
		if data, err := exactjson.Marshal(v); !errors.Is(err, exactjson.ErrNotUTF8) {
			t.Errorf("%q is written as %s, %v", v, data, err)
		}
	}
	for _, v := range []any{"", "é", "\ufffd", `\ufffd`, `\\ufffd`, "a\x00\u2028<", map[string]any{`\ufffd`: "\ufffd"}} {
		want, _ := json.Marshal(v)
		if data, err := exactjson.Marshal(v); err != nil || string(data) != string(want) {
			t.Errorf("%q is written as %s, %v; want %s", v, data, err, want)
		}
	}
}

func TestUnmarshal_KeepsNumbers(t *testing.T) {
	for _, text := range []string{"9007199254740993", "-18446744073709551615", "0.1", "1e400", "123456789012345678901234567890"} {
		var v any
		if err := exactjson.Unmarshal([]byte(text), &v); err != nil || v != json.Number(text) {
			t.Errorf("%s is read as %v (%T), %v", text, v, v, err)
		}
	}
	var v any
	for _, text := range []string{"", "1 2", "{}]", "nul"} {
		if err := exactjson.Unmarshal([]byte(text), &v); err == nil {
			t.Errorf("%q is read as %v", text, v)
		}
	}
}

func TestHasInterface_LooksIntoEveryType(t *testing.T) {
	type node struct {
		Next *node
		At   time.Time
	}
	type loose struct{ In map[string][]*any }
	for v, want := range map[any]bool{
		reflect.TypeFor[string](): false, reflect.TypeFor[any](): true, reflect.TypeFor[map[string]any](): true,
		reflect.TypeFor[[]node](): false, reflect.TypeFor[loose](): true, reflect.TypeFor[error](): true,
	} {
		if got := exactjson.HasInterface(v.(reflect.Type)); got != want {
			t.Errorf("%v: %v", v, got)
		}
	}
}
