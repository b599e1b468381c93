package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

const (
	idBytes = 32
	idWidth = 43 // in base64url without padding
)

// newID returns 256 random bits in base64url. An id is never used again.
func newID() string {
	var b [idBytes]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hash returns the only form of an id that is sent to the nodes. The id cannot
// be derived from it.
func hash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// valid reports whether id has the form of an id, which a handle does not have.
func valid(id string) bool {
	if len(id) != idWidth {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil && len(b) == idBytes
}

// handleMark begins every handle, and no id.
const handleMark = "~"

// target returns the hash of the session that an id or a handle means.
func target(idOrHandle string) (hashed string, ok bool) {
	if h, is := strings.CutPrefix(idOrHandle, handleMark); is {
		return h, valid(h)
	}
	return hash(idOrHandle), valid(idOrHandle)
}

// label returns the name of a session in errors and logs.
func (s *Store) label(hashed string) string {
	sum := sha256.Sum256([]byte(s.salt + hashed))
	return hex.EncodeToString(sum[:6])
}
