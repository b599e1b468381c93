// Package fence holds what connects [github.com/venta-hq/redlock/fence] to
// libraries that the root module does not depend on, and the tests of
// fence.SQL on real servers:
//
//   - [github.com/venta-hq/redlock/contrib/fence/pgxfence] checks tokens in
//     transactions of pgx.
package fence
