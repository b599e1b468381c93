package cache

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// roundTrip encodes and decodes v with the default codec.
func roundTrip[V any](t *testing.T, v V) V {
	t.Helper()
	codec := defaultCodec[V]()
	data, err := codec.Encode(v)
	if err != nil {
		t.Fatalf("%#v: %v", v, err)
	}
	var got V
	if err := codec.Decode(data, &got); err != nil {
		t.Fatalf("%#v as %q: %v", v, data, err)
	}
	return got
}

func same[V any](t *testing.T, v V) {
	t.Helper()
	if got := roundTrip(t, v); !reflect.DeepEqual(got, v) {
		t.Errorf("%#v is decoded as %#v", v, got)
	}
}

type (
	id   string
	blob []byte
)

// upper has a marshaling method of its own.
type upper string

func (u upper) MarshalText() ([]byte, error) { return []byte("up " + string(u)), nil }

func (u *upper) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "up %s", u)
	return err
}

func TestCodec_DefaultChangesNoValue(t *testing.T) {
	t.Parallel()
	same(t, "")
	same(t, "a\xff\x00\"\\")
	same(t, id("\xff"))
	same(t, []byte{0, 0xff})
	same(t, blob{0, 0xff})
	same(t, upper("x"))
	same(t, []string{"a", "\ufffd"})
	same(t, struct {
		N int64
		T time.Time
	}{1<<63 - 1, time.Unix(1, 2).UTC()})
	for _, n := range []any{json.Number("9007199254740993"), json.Number("0.1")} {
		same[any](t, map[string]any{"n": n, "list": []any{n, "s", true, nil}})
	}
	if got := roundTrip[any](t, int64(1<<53+1)); got != json.Number("9007199254740993") {
		t.Errorf("an integer is decoded as %v (%T)", got, got)
	}
	if data, err := defaultCodec[[]string]().Encode([]string{"a\xff"}); err == nil {
		t.Errorf("a string that JSON changes is written as %q", data)
	}
}
