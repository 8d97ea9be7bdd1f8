// proper-lockfile, for command.c, which says what the lines mean. It does not wait of itself: here it tries each 10 ms.
'use strict'
const path = require('path')
const readline = require('readline')

function load(name) {
  const globally = path.join(path.dirname(process.execPath), '..', 'lib', 'node_modules')
  return require(require.resolve(name, { paths: [process.cwd(), __dirname, globally, '/usr/share/nodejs'] }))
}

async function main() {
  let lockfile
  try {
    lockfile = load(process.argv[2])
  } catch (error) {
    return console.log('missing: ' + error.code)
  }
  const file = process.argv[3]
  const options = { realpath: false, retries: { forever: true, factor: 1, minTimeout: 10, maxTimeout: 10 } }
  let release
  console.log('ready')
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [order, count] = line.split(' ')
    if (count) {
      const start = process.hrtime.bigint()
      for (let i = 0; i < Number(count); i++)
        await (await lockfile.lock(file, options))()
      console.log(String(process.hrtime.bigint() - start))
    } else if (order === 'u') {
      await release()
      console.log('done')
    } else {
      release = await lockfile.lock(file, options)
      console.log('done')
    }
  }
}

main()
