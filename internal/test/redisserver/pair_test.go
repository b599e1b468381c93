package redisserver

import (
	"slices"
	"testing"
)

func TestHasParts_ComparesWholeParts(t *testing.T) {
	for _, tc := range []struct {
		value, want string
		has         bool
	}{
		{"up", "up", true},
		{"down", "up", false},
		{"", "up", false},
		{"keys=1,expires=0,avg_ttl=0", "keys=1,expires=0", true},
		{"keys=1,expires=0,avg_ttl=0,keys_with_volatile_items=0", "keys=1,expires=0", true},
		{"keys=1,expires=0,avg_ttl=0,subexpiry=0", "keys=1,expires=0", true},
		{"keys=10,expires=0,avg_ttl=0", "keys=1,expires=0", false},
		{"name=pair,status=ok,address=127.0.0.1:1,slaves=0,sentinels=1", "name=pair,slaves=1", false},
	} {
		if got := hasParts(tc.value, tc.want); got != tc.has {
			t.Errorf("hasParts(%q, %q) = %t", tc.value, tc.want, got)
		}
	}
}

func TestPair_FailsOver(t *testing.T) {
	t.Parallel()
	need(t)
	p, err := StartPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	before := p.Servers()
	if err := client(t, before[0], nil).Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := p.servers.nodes[1].await("the write", "db0", "keys=2,expires=0", "INFO", "keyspace"); err != nil { // including the mark
		t.Fatal(err)
	}
	if err := p.FailOver(); err != nil {
		t.Fatal(err)
	}
	if got := p.Servers(); !slices.Equal(got, before[1:]) {
		t.Errorf("Servers = %v after the failover, %v before", got, before)
	}
	if err := client(t, p.Servers()[0], nil).Set(t.Context(), "other", "value", 0).Err(); err != nil {
		t.Errorf("the new master: %v", err)
	}
	if err := p.FailOver(); err == nil {
		t.Error("it failed over twice")
	}
}
