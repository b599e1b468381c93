package nodeset

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestPrint_ShowsNoCredentials(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Password: "hunter2"})
	defer client.Close()
	cfg := Config{
		URLs: []string{"redis://ann:hunter2@10.0.0.1:6379", "redis://:hunter2@10.0.0.2:6379/3", "redis://:hunter2@[",
			"redis://:hun#ter2@10.0.0.3:6379"},
		Clients: map[string]redis.UniversalClient{"ready": client},
		MaxTTL:  time.Minute,
	}
	nodes := &Set{cfg: cfg, nodes: []*Node{{name: "10.0.0.1:6379"}}}
	for what, v := range map[string]any{"Config": cfg, "*Config": &cfg, "Cluster": nodes} {
		var b strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb+"\n", v)
			fmt.Fprintf(&b, verb+"\n", []any{v})
			fmt.Fprintf(&b, verb+"\n", struct{ V any }{v})
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("a line", "it", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("a line", "it", v)
		out := b.String()
		for _, secret := range []string{"hunter2", "ter2", fmt.Sprintf("%x", "hunter2")} {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows %q:\n%s", what, secret, out)
			}
		}
		if !strings.Contains(out, "10.0.0.1:6379") {
			t.Errorf("%s does not name its nodes:\n%s", what, out)
		}
	}
	if got := cfg.String(); !strings.Contains(got, "a URL that cannot be read ready] Quorum:0 MaxTTL:1m0s") || cfg.GoString() != got || cfg.LogValue().String() != got {
		t.Error(got)
	}
	var none *Set
	if none.String() != "no cluster" || none.GoString() != "no cluster" || none.LogValue().String() != "no cluster" {
		t.Error(none)
	}
}

func TestSet_OfNilOnlyRefuses(t *testing.T) { harness.OfNil(t, (*Set)(nil), ErrConfig) }
