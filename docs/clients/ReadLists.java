// Read lists as they come: java -cp "$KAFKA_HOME/libs/*" ReadLists.java BROKERS TOPIC GROUP COUNT

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Properties;
import java.util.StringJoiner;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class ReadLists {
    private final ObjectMapper json = new ObjectMapper();
    /** The offset of each user's newest event in each partition it came from. */
    private final HashMap<String, HashMap<String, Long>> newest = new HashMap<>();

    public static void main(String[] args) throws Exception {
        if (args.length != 4) {
            System.err.println("usage: ReadLists BROKERS TOPIC GROUP COUNT");
            System.exit(2);
        }
        var settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[2]);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", args[3]);
        int left = Integer.parseInt(args[3]);
        var lists = new ReadLists();
        try (var consumer =
                new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[1]));
            while (left > 0) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    left -= lists.take(record) ? 1 : 0;
                }
                consumer.commitSync();
            }
        }
    }

    /** Print a record and tell whether it was a list that had not come before. */
    private boolean take(ConsumerRecord<String, byte[]> record) throws Exception {
        if (record.value() == null) {
            newest.remove(record.key());
            System.out.println(record.key() + ": erased");
            return false;
        }
        var made = json.readTree(record.value());
        // After a crash of a worker the lists of the last events can all come again, in their order.
        var event = made.get("event");
        var offsets = newest.computeIfAbsent(record.key(), user -> new HashMap<>());
        var partition = event.get("topic").asText() + " " + event.get("partition").asInt();
        if (event.get("offset").asLong() <= offsets.getOrDefault(partition, -1L)) {
            return false;
        }
        offsets.put(partition, event.get("offset").asLong());
        var items = new StringJoiner(" ");
        made.get("items").forEach(item -> items.add(item.get("item_id").asText()));
        System.out.println(made.get("user_id").asText() + ": " + items);
        return true;
    }
}
