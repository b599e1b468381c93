package session

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// printed returns v as programs print and log it.
func printed(v any) string {
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb+"\n", v)
		fmt.Fprintf(&b, verb+"\n", []any{v})
		fmt.Fprintf(&b, verb+"\n", struct{ V any }{v})
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("a line", "it", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("a line", "it", v)
	return b.String()
}

func TestPrint_ShowsNoIDAndNoField(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 1), Config{Salt: "a pinch of salt"})
	ss := create(t, s, "ann", data{"a": "a secret"})
	for what, v := range map[string]any{"Session": ss, "Store": s, "Config": s.cfg, "*Config": &s.cfg} {
		out := printed(v)
		for _, secret := range []string{ss.ID(), ss.Handle()[1:], "a secret", "a pinch", fmt.Sprintf("%x", ss.ID()), fmt.Sprintf("%x", "a pinch")} {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows %q:\n%s", what, secret, out)
			}
		}
	}
	if want := fmt.Sprintf("session %q", s.label(ss.hash)); ss.String() != want || ss.GoString() != want || ss.LogValue().String() != want {
		t.Errorf("%v, want %s", ss, want)
	}
	var none *Session
	var nowhere *Store
	if got := fmt.Sprint(none, " in ", nowhere); got != "no session in no store of sessions" {
		t.Error(got)
	}
}
