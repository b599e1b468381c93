package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// shop is one instance of the service.
type shop struct {
	http.ServeMux
	c     *cluster.Cluster
	users *cache.Cache[string]
	locks *lock.Locker
	db    *database
}

func newShop(ctx context.Context, urls []string, db *database) (s *shop, err error) {
	s = &shop{db: db}
	if s.c, err = cluster.Open(ctx, cluster.Config{URLs: urls}); err != nil {
		return nil, err
	}
	if s.users, err = cache.New(s.c, cache.Config[string]{Prefix: "cache:user:"}); err != nil {
		return nil, err
	}
	if s.locks, err = lock.New(s.c, lock.Config{}); err != nil {
		return nil, err
	}
	s.HandleFunc("GET /user/{id}", s.getUser)
	s.HandleFunc("PUT /user/{id}", s.putUser)
	s.HandleFunc("POST /order/{id}", s.processOrder)
	return s, nil
}

func (s *shop) close(ctx context.Context) {
	s.locks.Close(ctx)
	s.users.Close(ctx)
	s.c.Close(ctx)
}

func (s *shop) getUser(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	name, err := s.users.Fetch(r.Context(), id, func(ctx context.Context) (string, error) {
		name, ok := s.db.user(id)
		if !ok {
			return "", cache.ErrNotFound
		}
		return name, nil
	})
	switch {
	case errors.Is(err, cache.ErrNotFound):
		http.Error(w, "no such user", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, name)
	}
}

// putUser changes the database first: a load that reads it after the deletion finds what is new, and one that read it
// before is not stored.
func (s *shop) putUser(w http.ResponseWriter, r *http.Request) {
	name, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.db.setUser(r.PathValue("id"), string(name))
	if err := s.users.Delete(r.Context(), r.PathValue("id")); err != nil {
		http.Error(w, "changed, but old values may be seen for a while: "+err.Error(), http.StatusAccepted)
		return
	}
	fmt.Fprintln(w, "changed")
}

func (s *shop) processOrder(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	id := r.PathValue("id")
	err := s.locks.WithLock(ctx, "order:"+id, func(ctx context.Context) error {
		token, _ := lock.Token(ctx)
		return s.db.process(id, token)
	})
	switch {
	case errors.Is(err, errProcessed):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "processed")
	}
}
