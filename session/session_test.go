package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// A number that is decoded into an interface keeps its digits. It can also be
// decoded into a numeric type.
func TestGet_NumbersKeepTheirDigits(t *testing.T) {
	t.Parallel()
	const large = 1<<53 + 1
	s := store(t, harness.Embedded(t, 1), Config{})
	ss := create(t, s, "ann", data{"n": large, "m": map[string]any{"id": large, "x": 1.5}})
	ss = load(t, s, ss.ID())
	has(t, ss, "n", large)
	has[any](t, ss, "n", json.Number(fmt.Sprint(large)))
	m, _, err := Get[map[string]any](ss, "m")
	if err != nil || m["id"] != json.Number(fmt.Sprint(large)) || m["x"] != json.Number("1.5") {
		t.Errorf("%v, %v", m, err)
	}
	if f, _, err := Get[map[string]float64](ss, "m"); err != nil || f["x"] != 1.5 {
		t.Errorf("%v, %v", f, err)
	}
	if err := ss.Set("text", "\xff"); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a string that JSON would change: %v", err)
	}
	must(t, ss.Set("bytes", []byte("\xff")))
	has(t, ss, "n", large)
	if b, _, err := Get[[]byte](ss, "bytes"); string(b) != "\xff" || err != nil {
		t.Errorf("bytes: %q, %v", b, err)
	}
	for _, bad := range []string{"", "1 2", "{", "1]"} {
		if err := (jsonCodec{}).Unmarshal([]byte(bad), new(any)); err == nil {
			t.Errorf("%q is decoded", bad)
		}
	}
}

// Setting a field does not examine the others: eight times as many fields take
// eight times as long, not 64 times.
func TestSession_Set_IsLinearInTheNumberOfFields(t *testing.T) {
	s := &Store{cfg: Config{MaxSize: maxSize}.withDefaults()}
	fill := func(fields int) time.Duration {
		best := time.Duration(1<<63 - 1)
		for range 5 {
			ss := s.newSession("", "", &record{})
			began := time.Now()
			for i := range fields {
				if err := ss.Set(fmt.Sprint("field", i), i); err != nil {
					t.Fatal(err)
				}
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	began := time.Now()
	few, many := fill(1000), fill(8000)
	if ratio := float64(many) / float64(few); ratio > 30 {
		harness.Missed(t, began, "eight times the fields take %.0f times as long: %v, %v", ratio, few, many)
	}
}

func TestSession_Delete_FreesSize(t *testing.T) {
	t.Parallel()
	s := &Store{cfg: Config{MaxSize: 20}.withDefaults()}
	ss := s.newSession("", "", &record{fields: map[string]string{"a": padded(1, 10) + padded(1, 16) + "=12345"}})
	for i, step := range []struct {
		do   func() error
		want int
	}{
		{func() error { return nil }, 6},
		{func() error { return ss.Set("a", 1) }, 2},
		{func() error { return ss.Set("bb", 123) }, 7},
		{func() error { return ss.Set("bb", 1234) }, 8},
		{func() error { ss.Delete("a"); return nil }, 6},
		{func() error { ss.Delete("a"); ss.Delete("none"); return nil }, 6},
		{func() error { return ss.Set("a", 1234567890123) }, 20},
	} {
		if err := step.do(); err != nil || ss.size != step.want {
			t.Errorf("step %d: %d bytes, %v; want %d", i, ss.size, err, step.want)
		}
	}
	if err := ss.Set("c", 1); err == nil || ss.size != 20 {
		t.Errorf("beyond MaxSize: %d bytes, %v", ss.size, err)
	}
	rec := *ss.rec
	ss.adopt(&rec)
	if ss.size != 20 {
		t.Errorf("counted again it is %d bytes", ss.size)
	}
}
