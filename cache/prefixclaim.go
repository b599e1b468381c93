package cache

import (
	"reflect"
	"sync"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// claims holds the type of value of the open Caches of this process, by Cluster
// and Prefix. Two types under one Prefix would read each other's values as
// their own.
var claims = struct {
	mu  sync.Mutex
	all map[place]*claim
}{all: map[place]*claim{}}

type place struct {
	c      *nodeset.Set
	prefix string
}

type claim struct {
	value, codec reflect.Type
	caches       int
}

// claim reserves the Prefix for the type and the codec of s until disclaim is
// called.
func (s *Cache[V]) claim() error {
	at := place{s.c, s.cfg.Prefix}
	want := claim{value: reflect.TypeFor[V](), codec: reflect.TypeOf(s.cfg.Codec)}
	claims.mu.Lock()
	defer claims.mu.Unlock()
	have := claims.all[at]
	if have == nil {
		have = &want
		claims.all[at] = have
	}
	if have.value != want.value || have.codec != want.codec {
		return configerr.Field("Config.Prefix", "%q has values of %v by %v on this Cluster; values of %v by %v need another",
			s.cfg.Prefix, have.value, have.codec, want.value, want.codec)
	}
	have.caches++
	s.disclaim = sync.OnceFunc(func() {
		claims.mu.Lock()
		defer claims.mu.Unlock()
		if have.caches--; have.caches == 0 {
			delete(claims.all, at)
		}
	})
	return nil
}
