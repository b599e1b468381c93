//go:build unix

package chaos

import "errors"

// network holds the links of all clients to all nodes.
type network [][]*link // by client, by node

func newNetwork(clients int, nodes []string) (network, error) {
	w := make(network, clients)
	for c := range w {
		for _, node := range nodes {
			l, err := newLink(node)
			if err != nil {
				return nil, errors.Join(err, w.close())
			}
			w[c] = append(w[c], l)
		}
	}
	return w, nil
}

// urls returns the URLs by which a client reaches these nodes.
func (w network) urls(client int, nodes []int) []string {
	var urls []string
	for _, n := range nodes {
		urls = append(urls, "redis://"+w[client][n].addr())
	}
	return urls
}

// each runs fn on the links of the client, or of all clients if client is
// Everybody, to the nodes.
func (w network) each(client int, nodes []int, fn func(*link)) {
	for c := range w {
		if client != Everybody && client != c {
			continue
		}
		for _, n := range nodes {
			fn(w[c][n])
		}
	}
}

func (w network) close() error {
	for _, links := range w {
		for _, l := range links {
			l.close()
		}
	}
	return nil
}
