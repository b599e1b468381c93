package redisserver

import (
	"slices"
	"testing"
)

func TestAPairFailsOver(t *testing.T) {
	t.Parallel()
	if _, err := Available(); err != nil {
		t.Skip(err)
	}
	p, err := StartPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	before := p.Servers()
	if err := client(t, before[0], nil).Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := p.servers.nodes[1].await("the write", "db0", "keys=1,expires=0,avg_ttl=0", "INFO", "keyspace"); err != nil {
		t.Fatal(err)
	}
	if err := p.FailOver(); err != nil {
		t.Fatal(err)
	}
	if got := p.Servers(); !slices.Equal(got, before[1:]) {
		t.Errorf("Servers = %v after the fail-over, %v before", got, before)
	}
	if err := client(t, p.Servers()[0], nil).Set(t.Context(), "other", "value", 0).Err(); err != nil {
		t.Errorf("the new master: %v", err)
	}
	if err := p.FailOver(); err == nil {
		t.Error("it failed over twice")
	}
}
