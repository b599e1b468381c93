package main

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// webUsers are the users in --basic-auth-file.
type webUsers struct {
	hashes map[string][]byte // by name
	nobody []byte            // matches no password: refusing an unknown name takes as long as refusing a known one
	salt   [16]byte

	hashing sync.Mutex // one hash at a time: guesses must not exhaust the machine

	mu    sync.Mutex
	known map[[sha256.Size]byte]bool // names and passwords that were correct, because hashing takes long
}

// readUsers reads lines of the form name:hash, as htpasswd -B writes them.
func readUsers(path string) (*webUsers, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, misused("--basic-auth-file: %w", err)
	}
	u := &webUsers{hashes: map[string][]byte{}, known: map[[sha256.Size]byte]bool{}}
	_, _ = rand.Read(u.salt[:]) // never fails
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if _, err := bcrypt.Cost([]byte(hash)); !ok || name == "" || err != nil {
			return nil, misused("--basic-auth-file: %s, line %d: not a name and a bcrypt hash; add people with htpasswd -B", path, n)
		}
		if u.hashes[name] != nil {
			return nil, misused("--basic-auth-file: %s, line %d: %q is named twice; delete the old line", path, n, name)
		}
		if u.nobody == nil {
			u.nobody = []byte(hash)
		}
		u.hashes[name] = []byte(hash)
	}
	if len(u.hashes) == 0 {
		return nil, misused("--basic-auth-file: %s names nobody; add people with htpasswd -B", path)
	}
	return u, nil
}

// ask serves only users who give their password.
func (u *webUsers) ask(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, ok := r.BasicAuth()
		if !ok || !u.right(name, password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="redlock", charset="UTF-8"`)
			http.Error(w, "Give your name and password.", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (u *webUsers) right(name, password string) bool {
	sum := sha256.Sum256([]byte(string(u.salt[:]) + name + "\x00" + password))
	u.mu.Lock()
	known := u.known[sum]
	u.mu.Unlock()
	if known {
		return true
	}
	hash, ok := u.hashes[name]
	if !ok {
		hash = u.nobody
	}
	u.hashing.Lock()
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	u.hashing.Unlock()
	if err != nil || !ok {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.known[sum] = true
	return true
}
