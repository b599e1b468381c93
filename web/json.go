package web

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/venta-hq/redlock/internal/present"
)

// writeJSON answers with a document. Characters that a terminal may obey are
// written as escapes: tools print what they get.
func writeJSON(w http.ResponseWriter, status int, doc any) {
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		http.Error(w, "The answer cannot be written: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, plain(body)+"\n") // the client may be gone
}

// plain is JSON without characters that are invisible or change the direction
// of text.
func plain(body []byte) string {
	var b strings.Builder
	for _, r := range string(body) {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			present.EscapeJSON(&b, r)
		}
	}
	return b.String()
}
