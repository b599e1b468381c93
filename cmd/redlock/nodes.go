package main

import (
	"os"
	"strings"
)

// nodesFlag says which nodes to use.
type nodesFlag struct {
	Nodes string `help:"The nodes' URLs, separated by commas or spaces." env:"REDLOCK_NODES" placeholder:"URL,URL,…"`
}

// urls are the nodes, or an error that says how to name some.
func (f nodesFlag) urls() ([]string, error) {
	urls := splitURLs(f.Nodes)
	if len(urls) == 0 {
		return nil, misused(`no nodes configured. Name the Redis servers that keep the locks, best 3 or 5 independent ones:
  export REDLOCK_NODES=redis://10.0.0.1:6379,redis://10.0.0.2:6379,redis://10.0.0.3:6379
or give them with --nodes. To try it without any, start some in another shell:
  %s dev`, invocation())
	}
	return urls, nil
}

// splitURLs takes commas and white space as separators; URLs hold neither unless they are percent-encoded.
func splitURLs(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
}

// invocation is how this program was called, for lines to copy.
func invocation() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/redlock"
	}
	return "redlock"
}
