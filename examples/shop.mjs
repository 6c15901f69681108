// A shop that talks to Headrace over its topics, in JavaScript, with kafkajs.
//
// Start a broker and a worker, as the README says; then, in this folder:
//
//     npm ci
//     node shop.mjs 127.0.0.1:9092
//
// It prints two slates: one chosen from candidates of the shop, as after a search, and one that retrieval proposes, as
// for a home page.

import { randomUUID } from 'node:crypto'
import { Kafka, Partitioners, logLevel } from 'kafkajs'

const SERVERS = process.argv[2] ?? process.env.KAFKA_BOOTSTRAP_SERVERS ?? '127.0.0.1:9092'
const SHOES = ['boots', 'sandals', 'sneakers']
const PATIENCE_MS = 10_000

const kafka = new Kafka({ brokers: SERVERS.split(','), logLevel: logLevel.NOTHING, retry: { retries: 3 } })
// The partitions of Kafka's Java clients, so that all events of a user are in one, whoever sends them.
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
// A shop of several servers gives each a group of its own: each then reads all slates.
const consumer = kafka.consumer({ groupId: 'shop-kafkajs' })
const waiting = new Map()

// Sends an event, keyed by its user. Sent again with the same id, it counts once.
async function publish(kind, user_id, fields = {}, event_id = randomUUID()) {
  const event = { event_id, timestamp_ms: Date.now(), kind, user_id, ...fields }
  await producer.send({ topic: 'clickstream', acks: -1, messages: [{ key: user_id, value: JSON.stringify(event) }] })
}

// Asks for a decision, and waits for its slate, which echoes the event's id.
async function decide(user_id, fields) {
  const event_id = randomUUID()
  const slate = new Promise((resolve) => waiting.set(event_id, resolve))
  const reminder = setInterval(() => console.error('no slate for 10 s: does a worker run?'), PATIENCE_MS)
  await publish('decide', user_id, fields, event_id)
  try {
    return await slate
  } finally {
    clearInterval(reminder)
  }
}

// Reports what the shopper did with a slate; from that the policies learn.
async function shownAndClicked({ user_id, decision_id, items }) {
  await publish('impression', user_id, { decision_id })
  await publish('click', user_id, { decision_id, item_id: items[0].item_id, position: 0 })
}

async function main() {
  await Promise.all([producer.connect(), consumer.connect()])
  await consumer.subscribe({ topics: ['recommendations'], fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ message }) => {
      const slate = JSON.parse(message.value)
      waiting.get(slate.event_id)?.(slate)
      waiting.delete(slate.event_id)
    },
  })

  // With candidates: a search found these items, and "slippers" is new.
  const searched = await decide('eve', { candidates: [...SHOES, 'slippers'], n: 2, surface: 'search' })
  console.log(JSON.stringify(searched))
  await shownAndClicked(searched)

  // Without candidates: a new shop knows no items, so its first slates are empty.
  let home = { items: [] }
  for (let views = 0; home.items.length === 0; views++) {
    await publish('view', 'finn', { item_id: SHOES[views % SHOES.length], category: 'shoes', price: 79.9 })
    home = await decide('finn', { surface: 'home' })
  }
  console.log(JSON.stringify(home))
  await shownAndClicked(home)
}

process.on('SIGINT', () => process.exit(130))
try {
  await main()
  await Promise.all([consumer.disconnect(), producer.disconnect()])
} catch (error) {
  console.error(`${SERVERS}: ${error.message}`)
  process.exit(1)
}
